import errno
import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from Bio import bgzf
from Bio.Seq import Seq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyfaidx import Fasta

from dnar2mae.errors import SequenceError
from dnar2mae.genome import build, readers
from dnar2mae.genome.alphabet import complement, decode, encode, encode_text
from dnar2mae.genome.store import Genome

from .helpers import genome_of, random_bases, with_n, write_fasta

IUPAC = "ACGTURYSWKMBDHVN"


def cache_root() -> Path:
    return Path(os.environ["DNAR2MAE_CACHE"]) / "genomes"


def left_behind() -> list[str]:
    return [entry.name for entry in cache_root().iterdir()] if cache_root().exists() else []


def as_read(sequence: str) -> str:
    """What a sequence becomes in the store: U is T, an ambiguous letter is N, case is kept."""
    table = str.maketrans("Uu" + "RYSWKMBDHV" + "ryswkmbdhv", "Tt" + "N" * 10 + "n" * 10)
    return sequence.translate(table)


class TestReading:
    @pytest.mark.parametrize("seed", range(6))
    @pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
    def test_equals_pyfaidx(self, tmp_path, seed, newline, monkeypatch):
        rng = np.random.default_rng(seed)
        monkeypatch.setattr(readers, "_CHUNK", int(rng.integers(1, 300)))  # every boundary falls somewhere
        monkeypatch.setattr(build, "_FLUSH_BYTES", int(rng.integers(1, 500)))
        sequences = {
            f"seq{i}": random_bases(rng, int(rng.integers(1, 700)), IUPAC + IUPAC.lower() + "NNNNNNNN")
            for i in range(int(rng.integers(1, 6)))
        }
        width = int(rng.integers(1, 100))
        genome = Genome.open(write_fasta(tmp_path / "a.fa", sequences, width, newline))
        oracle = Fasta(str(write_fasta(tmp_path / "oracle.fa", sequences, width)), rebuild=True)
        assert genome.names == tuple(oracle.keys())
        for name, sequence in sequences.items():
            assert genome.lengths[genome.index[name]] == len(oracle[name])
            start, end = sorted(rng.integers(0, len(sequence) + 1, 2).tolist())
            assert genome.fetch(name, start, end) == as_read(str(oracle[name][start:end]))
            assert genome.fetch(name, 0, len(sequence)) == as_read(sequence)
        text = "".join(as_read(s) for s in sequences.values())
        is_n = np.array([letter in "Nn" for letter in text])
        covered = np.zeros(len(text), bool)
        for start, end in genome.n_runs:
            covered[start:end] = True
        np.testing.assert_array_equal(covered, is_n)
        ends_touch = genome.n_runs[:-1, 1] == genome.n_runs[1:, 0]
        assert np.isin(genome.n_runs[1:, 0][ends_touch], genome.offsets).all()  # maximal but at sequence ends

        summary = genome.summary()
        known = sum(text.upper().count(c) for c in "ACGT")
        assert summary["gc_share"] == sum(text.upper().count(c) for c in "GC") / known
        assert summary["n_share"] == is_n.mean()
        assert summary["soft_masked_share"] == sum(map(str.islower, text)) / len(text)
        assert summary["num_sequences"] == len(genome) == len(sequences)

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        sequences=st.lists(st.text("ACGTNacgtn", max_size=50), min_size=1, max_size=5).filter(
            lambda s: all(s) and set("".join(s).upper()) - {"N"}
        ),
        layout=st.randoms(use_true_random=False),
    )
    def test_uneven_lines_and_white_space(self, tmp_path_factory, sequences, layout):
        text = "\n\n"
        for i, sequence in enumerate(sequences):
            text += f">s{i}" + layout.choice(["\n", " long header > with marks\n", "\tx\r\n"])
            start = 0
            while start < len(sequence):
                end = start + layout.randint(1, 20)
                text += sequence[start:end] + layout.choice(["\n", "\r\n", "\n\n", " \n"])
                start = end
        path = tmp_path_factory.mktemp("fasta") / "a.fa"
        path.write_text(text.rstrip() if layout.random() < 0.5 else text, newline="")
        genome = Genome.open(path)
        assert [genome.fetch(f"s{i}", 0, len(s)) for i, s in enumerate(sequences)] == sequences

    def test_compressed_is_plain(self, tmp_path):
        rng = np.random.default_rng(0)
        plain = write_fasta(tmp_path / "a.fa", {"one": with_n(rng, 100_000), "two": random_bases(rng, 70_000)})
        text = plain.read_bytes()
        (tmp_path / "members.txt").write_bytes(gzip.compress(text[:777]) + gzip.compress(text[777:]))
        with bgzf.BgzfWriter(str(tmp_path / "b.fa.bgz")) as writer:
            writer.write(text)
        first = Genome.open(plain)
        for other in (tmp_path / "members.txt", tmp_path / "b.fa.bgz"):
            genome = Genome.open(other)
            assert genome.names == first.names
            np.testing.assert_array_equal(genome.span(0, genome.total_bp), first.span(0, first.total_bp))
            np.testing.assert_array_equal(genome.n_runs, first.n_runs)
        assert (Genome.open(tmp_path / "b.fa.bgz").stem, first.stem) == ("b", "a")

    def test_long_header(self, tmp_path, monkeypatch):
        monkeypatch.setattr(readers, "_CHUNK", 64)
        (tmp_path / "a.fa").write_text(">one " + "x" * 1000 + "\nACGT\n>two\nGG")
        assert Genome.open(tmp_path / "a.fa").names == ("one", "two")

    def test_genbank_is_fasta(self, tmp_path, data):
        from Bio import SeqIO

        source = data / "genomes" / "NC_005816.gb"
        SeqIO.convert(source, "genbank", tmp_path / "a.fa", "fasta")
        (tmp_path / "b.gz").write_bytes(gzip.compress(source.read_bytes()))
        plasmid = Genome.open(tmp_path / "a.fa")
        for path in (source, tmp_path / "b.gz"):
            genome = Genome.open(path)
            assert genome.names == plasmid.names == ("NC_005816.1",)
            np.testing.assert_array_equal(genome.span(0, 9609), plasmid.span(0, 9609))

    def test_embl(self, tmp_path):
        from Bio.SeqRecord import SeqRecord

        record = SeqRecord(Seq("ACGTNNAC"), id="X1.1", annotations={"molecule_type": "DNA"})
        (tmp_path / "a.embl").write_text(record.format("embl"))
        genome = Genome.open(tmp_path / "a.embl")
        assert genome.fetch(genome.names[0], 0, 8) == "ACGTNNAC"

    def test_empty_sequence_is_kept_with_a_warning(self, tmp_path):
        (tmp_path / "a.fa").write_text(">one\n>two\nACGT\n>three\n")
        with pytest.warns(UserWarning, match="2 of 3 sequences are empty: one, three"):
            genome = Genome.open(tmp_path / "a.fa")
        assert genome.lengths.tolist() == [0, 4, 0]
        assert genome.intervals.tolist() == [[0, 4]]
        assert genome.sequence_of(np.arange(4)).tolist() == [1, 1, 1, 1]

    @pytest.mark.parametrize("name", ["a.fa", "a.gb", "a.embl"])
    def test_a_byte_order_mark_is_no_part_of_a_file(self, tmp_path, name):
        from Bio.SeqRecord import SeqRecord

        record = SeqRecord(Seq("ACGTNNAC"), id="X1.1", annotations={"molecule_type": "DNA"})
        kinds = {"a.fa": "fasta", "a.gb": "genbank", "a.embl": "embl"}
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + record.format(kinds[name]).encode())
        assert Genome.open(tmp_path / name).fetch("X1.1", 0, 8) == "ACGTNNAC"


class TestAlphabet:
    def test_x_of_masked_repeats_is_n(self, tmp_path):
        genome = genome_of(tmp_path, "AXXCxG" + "X" * 20)
        assert genome.fetch("chr1", 0, 6) == "ANNCnG"
        assert genome.n_runs.tolist() == [[1, 3], [4, 5], [6, 26]]
        assert encode_text("AXx").tolist() == [0, 4, 12]

    @given(st.text("ACGTNacgtn", max_size=100))
    def test_reverse_complement_is_biopythons(self, text):
        codes = encode(text.encode())
        assert decode(codes) == text
        assert decode(complement(codes[::-1])) == str(Seq(text).reverse_complement())

    def test_fetch_strand(self, tmp_path):
        genome = genome_of(tmp_path, "AAccgNT")
        assert genome.fetch("chr1", 1, 7) == "AccgNT"
        assert genome.fetch("chr1", 1, 7, "-") == "ANcggT"


LOCUS = b"LOCUS       X                         10 bp    DNA     linear   UNK 01-JAN-2000\nACCESSION   X\n"
BAD = {
    "empty": (b"", "the file is empty"),
    "blank": (b"\n \n", "the file is empty"),
    "text": (b"chr1 100 200\n", "not a sequence file: FASTA starts with '>'"),
    "binary": (bytes(range(256)), "not a sequence file"),
    "fastq": (b"@read\nACGT\n+\nIIII\n", "not a sequence file"),
    "cut gzip": (gzip.compress(b">a\n" + b"ACGT" * 5000)[:40], "truncated gzip"),
    "bad gzip": (gzip.compress(b">a\nACGT\n")[:-8] + b"12345678", "damaged or unreadable file"),
    "gzip tail": (gzip.compress(b">a\nACGT\n") + b"tail", "damaged or unreadable file"),
    "protein": (b">a\nACGT\n>p x\nMK\nVLF\n", "sequence p has 'L' at base 4: it looks like protein"),
    "gap": (b">a\nAC-GT\n", "sequence a has '-' at base 3: gaps belong to alignments"),
    "one letter of a protein": (b">a\nACGTACGTLACGT\n", "sequence a has 'L' at base 9: only IUPAC"),
    "letter": (b">a\nAC>GT\n", "sequence a has '>' at base 3: only IUPAC"),
    "duplicate": (b">a\nACGT\n>b\nA\n>a\nAC\n", "sequence 3: the name 'a' occurs twice"),
    "nameless": (b">a\nACGT\n> \nA\n", "sequence 2: a header without a name"),
    "only N": (b">a\nNNNN\n>b\nRY\n", "no known base"),
    "no bases": (b">a\n", "no known base"),
    "letters first": (b"\t>x\nACGT\n", "stands before the first line with '>'"),
    "genbank without fields": (b"ID   \n", "damaged embl file"),
    "embl of a length beyond all numbers": (
        b"ID   chr1; SV 1; linear; DNA; STD; PRO; 12 BP.\nSQ   Sequence %s BP;\n//\n" % (b"2" * 40),
        "damaged embl file",
    ),
    "cut genbank": (LOCUS + b"ORIGIN\n        1 acgt\n", "damaged genbank file"),
    "no sequence": (
        LOCUS + b"CONTIG      join(A:1..2)\n//\n",
        "record .* no sequence",
    ),
}


class TestErrors:
    @pytest.mark.parametrize("case", BAD)
    def test_bad_file(self, tmp_path, case):
        content, message = BAD[case]
        path = tmp_path / "bad.fa"
        path.write_bytes(content)
        with pytest.raises(SequenceError, match=message) as caught:
            Genome.open(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert left_behind() == []

    def test_no_file(self, tmp_path):
        with pytest.raises(SequenceError, match="no such file"):
            Genome.open(tmp_path / "none.fa")
        with pytest.raises(SequenceError, match="is not a file"):
            Genome.open(tmp_path)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_unreadable(self, tmp_path):
        path = write_fasta(tmp_path / "a.fa", {"a": "ACGT"})
        path.chmod(0)
        with pytest.raises(SequenceError, match="cannot be read"):
            Genome.open(path)

    def test_truncated_bgzip(self, tmp_path):
        with bgzf.BgzfWriter(str(tmp_path / "a.fa.gz")) as writer:
            writer.write(b">a\n" + b"ACGT" * 100)
        path = tmp_path / "cut.fa.gz"
        path.write_bytes((tmp_path / "a.fa.gz").read_bytes()[:-28])
        with pytest.raises(SequenceError, match="end-of-file block"):
            Genome.open(path)

    def test_genbank_of_another_length(self, tmp_path, data):
        text = (data / "genomes" / "NC_005816.gb").read_text()
        (tmp_path / "a.gb").write_text(text.replace("9609 bp", "9999 bp"))
        with pytest.raises(SequenceError, match="Expected sequence length 9999"):
            Genome.open(tmp_path / "a.gb")

    @pytest.mark.parametrize(
        ("fai", "message"),
        [
            ("a\t8\t3\t60\t61\n", None),
            ("a\t9\t3\t60\t61\n", r"lists \('a', 9\), the file holds \('a', 8\)"),
            ("a\t8\t3\t60\t61\nb\t8\t3\t60\t61\n", "lists 2 sequences, the file holds 1 sequences"),
            ("a\n", r"a.fa.fai:1: not a line of a FASTA index"),
        ],
    )
    def test_fai(self, tmp_path, fai, message):
        path = write_fasta(tmp_path / "a.fa", {"a": "ACGTACGT"})
        (tmp_path / "a.fa.fai").write_text(fai)
        if message is None:
            Genome.open(path)
        else:
            with pytest.raises(SequenceError, match=message):
                Genome.open(path)
            assert left_behind() == []

    def test_cache_cannot_be_written(self, tmp_path):
        path = write_fasta(tmp_path / "a.fa", {"a": "ACGT"})
        (tmp_path / "file").write_text("")
        with pytest.raises(SequenceError, match="cannot write .* set DNAR2MAE_CACHE"):
            Genome.open(path, cache_dir=tmp_path / "file")

    def test_disk_full(self, tmp_path, monkeypatch):
        def full(file):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(build, "sync", full)
        with pytest.raises(SequenceError, match="no space left .* DNAR2MAE_CACHE"):
            Genome.open(write_fasta(tmp_path / "a.fa", {"a": "ACGT"}))
        assert left_behind() == []

    def test_change_during_the_pass(self, tmp_path, monkeypatch):
        path = write_fasta(tmp_path / "a.fa", {"a": "ACGT"})
        flush = build._GenomePass.flush

        def append(self):
            flush(self)
            with path.open("a") as file:
                file.write("ACGT\n")

        monkeypatch.setattr(build._GenomePass, "flush", append)
        with pytest.raises(SequenceError, match="changed while it was read"):
            Genome.open(path)

    def test_lookup(self, tmp_path):
        genome = genome_of(tmp_path, "ACGT", "ACGTAC")
        with pytest.raises(SequenceError, match="no sequence '2'; did you mean chr2"):
            genome.codes("2", 0, 1)
        with pytest.raises(SequenceError, match="no sequence 'zz'; it has chr1, chr2"):
            genome.fetch("zz", 0, 1)
        with pytest.raises(SequenceError, match="chr1 need 0 <= start <= end <= 4 .* got 2-5"):
            genome.codes("chr1", 2, 5)
        with pytest.raises(SequenceError, match="strand is"):
            genome.fetch("chr1", 0, 1, "x")


def test_bar_appears_on_a_terminal_only(tmp_path, monkeypatch, capsys):
    from dnar2mae.storage import progress

    monkeypatch.setattr(progress, "_DELAY_S", -1.0)
    genome_of(tmp_path, "ACGT", name="quiet.fa")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(build, "_FLUSH_BYTES", 1)
    genome_of(tmp_path, "ACGT", name="shown.fa")
    assert "Reading shown.fa" in capsys.readouterr().err
