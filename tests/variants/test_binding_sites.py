import gzip
from itertools import product

import numpy as np
import pandas as pd
import pytest
from Bio.Seq import Seq

from dnar2mae.cli import demo, main
from dnar2mae.cli.simulate import run
from dnar2mae.errors import SequenceError
from dnar2mae.genome.annotation import read_annotation
from dnar2mae.genome.motifs import Motifs, read_motifs
from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model
from dnar2mae.variants import ControlOptions, score_controls
from dnar2mae.variants.alleles import Variant
from dnar2mae.variants.binding_sites import BindingSites
from dnar2mae.variants.control_pairs import REACH_BP, draw_pairs
from dnar2mae.variants.control_sites import AnnotatedBases
from dnar2mae.variants.count_ratios import TWO_SIDED
from dnar2mae.variants.matrix_ratios import MATRICES, matrix_ratios
from tests.random_run import write_run

pytestmark = pytest.mark.long

SIMULATE = ["--dense", "--length-bp", "300000", "--chromosomes", "2", "--variants", "50"]


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """Binding sites alone, one in 45 bp."""
    folder = tmp_path_factory.mktemp("dense")
    assert run(["--out", str(folder / "genome"), *SIMULATE]) == 0
    return folder


@pytest.fixture
def model(dense, tmp_path, monkeypatch):
    monkeypatch.chdir(dense)  # the run names its genome genome.fa
    return Model.from_pretrained(write_run(tmp_path / "run"), device="cpu")


def sites_of(folder):
    table = pd.read_csv(folder / "genome.gff3", sep="\t", comment="#", header=None)
    return table[[0, 3, 4]].set_axis(["chrom", "first", "last"], axis=1)


def test_ceiling_and_floor(model, dense, tmp_path):
    everywhere = ControlOptions(pairs=500, region="all")
    report = score_controls(
        model, "genome.gff3", tmp_path / "c.csv", genome="genome.fa", matrices="genome.meme", options=everywhere
    )
    assert report.pairs == {"site_broken": 500}
    found = report.auroc["site_broken"]
    assert found[MATRICES].low > 0.94
    assert found[TWO_SIDED].low > 0.6
    assert found[TWO_SIDED].high < found[MATRICES].low
    # random weights know nothing
    assert found["model"].value == pytest.approx(0.5, abs=0.15)
    assert (
        f"Annotated: sites of the matrices in all of the genome: {len(sites_of(dense)):,}; read as GFF3."
        in report.lines()
    )


def test_the_two_of_a_pair_differ_in_the_site_alone(model, dense, tmp_path):
    score_controls(model, "genome.gff3", tmp_path / "c.csv", genome="genome.fa", matrices="genome.meme")
    table, genome, sites = pd.read_csv(tmp_path / "c.csv"), Genome.open("genome.fa"), sites_of(dense)
    assert list(table.columns[8:]) == ["llr", "two_sided_llr", "one_sided_llr", "matrices_llr"]
    assert len(table) > 200
    for _, (broken, match) in ((pair, rows.to_dict("records")) for pair, rows in table.groupby("pair")):
        assert (broken["label"], match["label"]) == (1, 0)
        assert [broken[c] for c in ("chrom", "ref", "alt")] == [match[c] for c in ("chrom", "ref", "alt")]
        around = [genome.fetch(v["chrom"], v["pos"] - 2, v["pos"] + 1).upper() for v in (broken, match)]
        assert around[0] == around[1]
        assert 0 < abs(broken["pos"] - match["pos"]) <= REACH_BP
        own = sites[sites["chrom"] == broken["chrom"]]
        assert ((own["first"] <= broken["pos"]) & (broken["pos"] <= own["last"])).any()
        assert not ((own["first"] - 10 <= match["pos"]) & (match["pos"] <= own["last"] + 10)).any()
    assert not table.duplicated(["chrom", "pos", "label"]).any()


def test_a_seed_names_the_files(dense, tmp_path):
    assert run(["--out", str(tmp_path / "genome"), *SIMULATE]) == 0
    assert run(["--out", str(tmp_path / "other"), *SIMULATE, "--seed", "1"]) == 0
    for suffix in ("fa", "gff3", "vcf", "meme"):
        content = (tmp_path / f"genome.{suffix}").read_bytes()
        assert content == (dense / f"genome.{suffix}").read_bytes()
        assert (content == (tmp_path / f"other.{suffix}").read_bytes()) == (suffix == "meme")
    sites = sites_of(dense)
    assert 300_000 / len(sites) == pytest.approx(45, abs=0.5)
    for _, own in sites.groupby("chrom"):
        assert (own["first"].to_numpy()[1:] > own["last"].to_numpy()[:-1]).all()


def test_matrix_ratios_by_a_slow_definition(dense):
    genome, motifs = Genome.open(dense / "genome.fa"), read_motifs(dense / "genome.meme")
    motifs = Motifs(matrices={name: motifs.matrices[name] for name in ("SP1", "GATA1")}, background=motifs.background)
    shares = dict(zip("ACGT", motifs.background, strict=True))
    length = int(genome.lengths[0])
    sites = [(at, genome.fetch("chr1", at, at + 1).upper()) for at in (0, 4, 5000, 5001, length - 1)]
    sites = [Variant("chr1", at, ref, ("ACGT".replace(ref, "")[at % 3],)) for at, ref in sites]

    def odds(text):
        total = 0.0
        for matrix, strand in product(motifs.matrices.values(), "+-"):
            read = text if strand == "+" else str(Seq(text).reverse_complement())
            for start in range(len(read)):
                word = read[start : start + len(matrix)]
                if len(word) < len(matrix) or not start <= len(read) // 2 < start + len(matrix):
                    continue
                known = [(j, x) for j, x in enumerate(word) if x != "N"]
                total += np.prod([matrix[j]["ACGT".index(x)] / shares[x] for j, x in known])
        return total

    padded = "N" * 20 + genome.fetch("chr1", 0, length).upper() + "N" * 20
    expected = []
    for _, at, ref, (alt,) in sites:
        left, right = padded[at + 7 : at + 20], padded[at + 21 : at + 34]
        likelihood = [shares[x] * (1 + 0.02 / 4 * odds(left + x + right)) for x in (ref, alt)]
        expected.append(np.log(likelihood[1] / likelihood[0]))
    np.testing.assert_allclose(matrix_ratios(motifs, 0.02, genome, sites), expected, atol=1e-9)


def test_sites_of_a_bed_file(dense, tmp_path):
    sites = pd.read_csv(dense / "genome.gff3", sep="\t", comment="#", header=None)
    names = sites[8].str.extract("Name=(.*)")[0]
    columns = {"chrom": sites[0], "start": sites[3] - 1, "end": sites[4], "name": names, "score": 0, "strand": sites[6]}
    bed = pd.DataFrame(columns)
    bed.to_csv(tmp_path / "g.bed", sep="\t", header=False, index=False)
    genome, motifs = Genome.open(dense / "genome.fa"), read_motifs(dense / "genome.meme")
    region = np.array([[20_000, 60_000]])
    drawn = [
        draw_pairs(BindingSites(genome, annotation, motifs, region), "site_broken", 100, 0)
        for annotation in (tmp_path / "g.bed", dense / "genome.gff3")
    ]
    assert len(drawn[0]) == 200
    assert drawn[0] == drawn[1]
    assert all(20_000 <= v.variant.start < 60_000 for v in drawn[0])
    bed.assign(end=sites[4] + 1).to_csv(tmp_path / "g.bed", sep="\t", header=False, index=False)
    rule = r"g.bed: no site of a matrix: a site has a matrix's name \(SP1, NFYA, CREB1\), its length and a strand; got"
    with pytest.raises(SequenceError, match=rule):
        BindingSites(genome, tmp_path / "g.bed", motifs, region)


def test_command(model, tmp_path, capsys):
    argv = ["score-variants", str(tmp_path / "run"), "--genome", "genome.fa", "--matrices", "genome.meme"]
    assert main([*argv, "--controls", "genome.gff3", "--pairs", "30", "--out", str(tmp_path / "c.csv")]) == 0
    assert "site_broken         30  known weight matrices         0." in capsys.readouterr().out
    assert main([*argv, "--vcf", "genome.vcf", "--out", str(tmp_path / "c.tsv")]) == 2
    assert "--matrices has no effect with --vcf: leave it out" in capsys.readouterr().err


def test_demo_scores_what_it_simulated(tmp_path, monkeypatch, capsys):
    from dnar2mae.cli import pretrain, report

    pages = []

    def untrained(argv):
        assert argv[0] == str(tmp_path / "genome.fa")
        assert argv[argv.index("--steps") + 1] == "1000"
        write_run(tmp_path / "run")
        return 0

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pretrain, "run", untrained)
    monkeypatch.setattr(report, "run", lambda argv: pages.append(argv) or 0)
    assert demo.run(["--dense", "--out", str(tmp_path)]) == 0
    assert "site_broken        500  known weight matrices         0.9" in capsys.readouterr().out
    genome = str(tmp_path / "genome")
    about = ["--genes", f"{genome}.gff3", "--matrices", f"{genome}.meme", "--seed", "0"]
    assert pages == [[str(tmp_path / "run"), *about, "--out", str(tmp_path / "report.html")]]


INTRONS = "CCCAAGGTAAGTCCAGGTCTTTTCCCAGGTCATTTAGGCAAGGTCCC"


@pytest.mark.parametrize("suffix", [".gff3", ".gff3.gz", ".gtf", ".gtf.gz"])
def test_a_splice_site_and_its_shuffled_neighbour(tmp_path, suffix):
    """One intron, after the first AAG and up to the AG before GTC; the same words lie in the last exon."""
    letters = "ACGT" * 10 + INTRONS + "AAGGTACCCTTTAGGT" * 4
    (tmp_path / "g.fa").write_text(f">one\n{letters}\n")
    exons = [(41, 46), (69, len(letters))]
    attributes = "Parent=t" if "gff" in suffix else 'gene_id "a"; transcript_id "t";'
    lines = [f"one\tx\texon\t{start}\t{end}\t.\t+\t.\t{attributes}\n" for start, end in exons]
    with (gzip.open if suffix.endswith(".gz") else open)(tmp_path / f"g{suffix}", "wt") as file:
        file.writelines(lines)
    genome = Genome.open(tmp_path / "g.fa")
    transcripts = read_annotation(tmp_path / f"g{suffix}", genome).transcripts
    bases = AnnotatedBases(genome, transcripts, genome.intervals)
    assert transcripts[0].introns() == [(46, 68)]
    assert (letters[46:48], letters[66:68]) == ("GT", "AG")
    pairs = draw_pairs(bases, "splice_broken", 10, 0)
    broken = {v.variant.start for v in pairs if v.breaks}
    assert len(broken) == 2  # one of each end
    assert broken <= {46, 47, 66, 67}
    for one, other in zip(pairs[::2], pairs[1::2], strict=True):
        a, b = one.variant.start, other.variant.start
        assert letters[a - 1 : a + 2] == letters[b - 1 : b + 2]
        assert one.variant[2:] == other.variant[2:]
        assert min(abs(b - 46), abs(b - 68)) > 10
