"""Bad input to ``score-variants``: the one line that a user sees, or the status in the output."""

import gzip

import pandas as pd
import pytest

from dnar2mae.cli import main
from dnar2mae.genome.store import Genome
from tests.random_run import write_run

pytest.importorskip("pysam")
HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def line(position, ref, alt, name="one"):
    return f"{name}\t{position}\t.\t{ref}\t{alt}\t.\t.\t.\n"


@pytest.fixture
def score(fasta, tmp_path, capsys):
    """Score a VCF given by its bytes; give the exit code, what was printed and the path."""
    run = write_run(tmp_path / "run")

    def call(content, *flags, genome=fasta, name="in.vcf"):
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        argv = ["score-variants", run, "--genome", genome, "--vcf", tmp_path / name, "--out", tmp_path / "o.tsv"]
        code = main([str(a) for a in argv + list(flags)])
        said = capsys.readouterr()
        return code, said.out if code == 0 else said.err.strip().splitlines()[-1], tmp_path / name

    return call


def test_no_header(score):
    code, said, vcf = score(line(5, "A", "C"))
    rule = "no VCF header; the first line must be ##fileformat=VCFv4.x, and a #CHROM line must follow"
    assert (code, said) == (2, f"dnar2mae: {vcf}: {rule}")


def test_gzip_but_not_bgzip(score, fasta):
    base = Genome.open(fasta).fetch("one", 4, 5)
    code, said, _ = score(gzip.compress((HEADER + line(5, base, "N")).encode()), name="in.vcf.gz")
    assert (code, said.splitlines()[0]) == (0, "1 records, 0 REF mismatches; alleles: 1 alt_unknown")


def test_missing_genome(score, tmp_path):
    code, said, _ = score(HEADER + line(5, "A", "C"), genome=tmp_path / "none.fa")
    assert (code, said) == (2, f"dnar2mae: {tmp_path / 'none.fa'}: no such file; give a FASTA or GenBank file")


def test_wrong_genome_unless_allowed(score, fasta):
    genome = Genome.open(fasta)
    bases = [genome.fetch("one", start, start + 1) for start in range(200)]
    rows = [line(1 + i, base, "ACGT".replace(base, "")[0]) for i, base in enumerate(bases)]
    for wrong in (0, 4):
        other = "ACGT".replace(bases[wrong], "")[0]
        rows[wrong] = line(1 + wrong, other, bases[wrong])
    rows[8] = line(9, other := "ACGT".replace(bases[8], "")[0], bases[8])
    code, said, vcf = score(HEADER + "".join(rows))
    first = f"one:1 has {'ACGT'.replace(bases[0], '')[0]}, the genome {bases[0]}"
    assert code == 2
    assert said == (
        f"dnar2mae: {vcf}: REF differs from {genome.path} at 3 of 200 records, first {first}; is it the right "
        "genome? --allow-mismatches goes on and leaves them unscored"
    )
    code, said, _ = score(HEADER + "".join(rows), "--allow-mismatches")
    assert code == 0
    assert "200 records, 3 REF mismatches; alleles: 197 scored, 3 ref_mismatch" in said
    rows[8] = line(9, bases[8], other)
    code, said, _ = score(HEADER + "".join(rows))
    assert "200 records, 2 REF mismatches; alleles: 198 scored, 2 ref_mismatch" in said


def test_records_that_cannot_be_scored_say_why(score, fasta, tmp_path):
    base = Genome.open(fasta).fetch("one", 4, 5)
    rows = [
        line(5, base, "<DEL>"),
        line(6, "N", "A"),
        line(20_001, "A", "C"),
        line(5, base, "*"),
        line(5, "A", "C", "x"),
    ]
    code, said, _ = score(HEADER + "".join(rows))
    assert code == 0
    assert "5 records, 0 REF mismatches; alleles: 2 alt_unknown, 1 ref_unknown, 1 outside, 1 no_contig" in said
    table = pd.read_csv(tmp_path / "o.tsv", sep="\t")
    assert table["status"].tolist() == ["alt_unknown", "ref_unknown", "outside", "alt_unknown", "no_contig"]
    assert table["llr"].isna().all()
