import numpy as np
import pandas as pd
import pytest

from dnar2mae.cli import main
from dnar2mae.genome.classes import base_classes
from dnar2mae.genome.intervals import size
from dnar2mae.genome.track_writer import write_track
from dnar2mae.tracks.summary import summarise
from tests.genome.helpers import genome_of

GENE = "ATG" + "GCA" * 8 + "TAA"  # 30 bp
REVERSED = GENE[::-1].translate(str.maketrans("ACGT", "TGCA"))


def gff(path, *lines):
    rows = (
        f"{name}\tx\t{kind}\t{start + 1}\t{end}\t.\t{strand}\t{phase}\t{tags}"
        for name, kind, start, end, strand, phase, tags in lines
    )
    path.write_text("##gff-version 3\n" + "\n".join(rows) + "\n")
    return path


def gene(number, start, end, strand, *parts, exons=()):
    name = f"g{number}"
    yield "chr1", "gene", start, end, strand, ".", f"ID={name}"
    yield "chr1", "mRNA", start, end, strand, ".", f"ID={name}m;Parent={name}"
    for low, high in exons:
        yield "chr1", "exon", low, high, strand, ".", f"Parent={name}m"
    for low, high in parts:
        yield "chr1", "CDS", low, high, strand, ".", f"ID=c{name};Parent={name}m"


class TestClasses:
    def test_of_a_gene_on_either_strand(self, tmp_path):
        letters = "C" * 150 + GENE + "C" * 20 + REVERSED + "C" * 170
        genome = genome_of(tmp_path, letters)
        path = gff(tmp_path / "g.gff3", *gene(1, 150, 180, "+", (150, 180)), *gene(2, 200, 230, "-", (200, 230)))
        classes = base_classes(path, genome)
        of = {name: set(np.concatenate([np.arange(*pair) for pair in own])) for name, own in classes.items()}
        assert of["start codons"] == {150, 151, 152, 227, 228, 229}
        assert of["stop codons"] == {177, 178, 179, 200, 201, 202}
        for i in range(3):
            assert of[f"codon position {i + 1}"] == {*range(153 + i, 177, 3), *range(226 - i, 202, -3)}
        assert of["upstream"] == {*range(50, 150), *range(230, 330)}
        assert of["intergenic"] == {*range(50), *range(180, 200), *range(330, 400)}
        assert set(of) == {
            "start codons",
            "stop codons",
            *(f"codon position {i}" for i in (1, 2, 3)),
            "upstream",
            "intergenic",
        }  # what has no base is left out
        assert sum(map(size, classes.values())) == 400

    def test_of_introns_and_untranslated_ends(self, tmp_path):
        coding = GENE[:15] + "GT" + "C" * 30 + "AG" + GENE[15:]
        genome = genome_of(tmp_path, "C" * 120 + "T" * 10 + coding + "T" * 7 + "C" * 50)
        start = 130
        parts = ((start, start + 15), (start + 49, start + 64))
        exons = ((120, start + 15), (start + 49, start + 71))
        path = gff(tmp_path / "g.gff3", *gene(1, 120, start + 71, "+", *parts, exons=exons))
        classes = base_classes(path, genome)
        assert classes["splice sites"].tolist() == [[145, 147], [177, 179]]
        assert classes["untranslated"].tolist() == [[120, 130], [194, 201]]
        assert classes["stop codons"].tolist() == [[191, 194]]

    def test_a_base_of_two_classes_is_in_none(self, tmp_path):
        letters = "C" * 10 + "ATG" + "CATGCA" * 4 + "TAA" + "C" * 100
        genome = genome_of(tmp_path, letters)
        first, second = (10, 40), (14, 17)  # the second reads ATG one base later
        path = gff(tmp_path / "g.gff3", *gene(1, *first, "+", first), *gene(2, *second, "+", second))
        classes = base_classes(path, genome)
        start = classes["start codons"]
        assert start.tolist() == [[10, 13]]
        covered = {*np.concatenate([np.arange(*pair) for own in classes.values() for pair in own])}
        assert not covered & {14, 15, 16}


class TestSummary:
    def test_means_are_those_of_the_classes(self, tmp_path):
        letters = ("C" * 50 + GENE) * 200
        genome = genome_of(tmp_path, letters)
        genes = [
            line for i in range(200) for line in gene(i, 80 * i + 50, 80 * i + 80, "+", (80 * i + 50, 80 * i + 80))
        ]
        rng = np.random.default_rng(0)
        values = rng.normal(size=len(letters)).astype(np.float32)
        for i in range(3):
            for codon in range(10):
                values[50 + 3 * codon + i :: 80] += 10 * (i + 1)
        values[:50] = np.nan
        write_track(tmp_path / "t.bedgraph", genome, [("chr1", 0, values)])
        classes = base_classes(gff(tmp_path / "g.gff3", *genes), genome)
        table = summarise({"constraint": str(tmp_path / "t.bedgraph")}, genome, classes).set_index("class")
        for i in (1, 2, 3):
            row = table.loc[f"codon position {i}"]
            own = np.concatenate([np.arange(53 + 80 * g + i - 1, 77 + 80 * g, 3) for g in range(200)])
            assert row["bases"] == len(own) == 1600
            assert row["mean"] == pytest.approx(values[own].mean(), rel=1e-5)
            assert row["low"] < row["mean"] < row["high"]
            assert row["high"] - row["low"] == pytest.approx(2 * 1.96 / 40, rel=0.6)
        difference = table.loc["codon position 3 minus 1"]
        assert difference["mean"] == pytest.approx(20, abs=0.15)
        assert difference["low"] < difference["mean"] < difference["high"]
        assert table.loc["upstream", "bases"] == 200 * 50 - 50  # without what has no value

    def test_the_command_writes_table_and_plot(self, tmp_path, run, capsys):
        genome_of(tmp_path, "C" * 150 + GENE + "C" * 20)
        annotation = gff(tmp_path / "g.gff3", *gene(1, 150, 180, "+", (150, 180)))
        line = ["tracks", str(run), "--genome", str(tmp_path / "genome.fa"), "--device", "cpu", "--summary"]
        line += [str(annotation), "--out", str(tmp_path / "t.bedgraph"), "--what", "entropy", "constraint"]
        assert main(line) == 0
        assert "codon position 3 minus 2" in capsys.readouterr().out
        table = pd.read_csv(tmp_path / "t.summary.csv")
        assert set(table["track"]) == {"entropy", "constraint"}
        assert (tmp_path / "t.summary.png").stat().st_size > 10_000

    def test_where_it_cannot_be_written_is_said_first(self, tmp_path, run, capsys):
        genome_of(tmp_path, "C" * 150 + GENE + "C" * 20)
        line = ["tracks", str(run), "--genome", str(tmp_path / "genome.fa"), "--out", str(tmp_path / "t.bedgraph")]
        assert main([*line, "--out-summary", str(tmp_path / "s.csv")]) == 2
        assert "--out-summary needs --summary" in capsys.readouterr().err
        annotation = gff(tmp_path / "g.gff3", *gene(1, 150, 180, "+", (150, 180)))
        assert main([*line, "--summary", str(annotation), "--out-summary", str(tmp_path / "s.tsv")]) == 2
        assert "--out-summary must end in .csv" in capsys.readouterr().err
        assert not (tmp_path / "t.bedgraph").exists()
