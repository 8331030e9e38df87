"""``export``, ``embed``, ``score-variants`` and ``plot`` as a user types them."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from dnar2mae.cli import main
from dnar2mae.genome.store import Genome
from tests.random_run import write_run


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def answers(capsys, *argv):
    """Standard output of a command that must succeed."""
    code = main([str(a) for a in argv])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out


def refused(capsys, *argv):
    """The one line of a command that must fail."""
    code = main([str(a) for a in argv])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dnar2mae: ")]
    assert code == 2
    assert len(lines) == 1
    return lines[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_export(run, fasta, tmp_path, capsys):
    out = answers(capsys, "export", run, "--to", tmp_path / "hf", "--license", "mit")
    assert "README.md, config.json, model.safetensors" in out
    assert "license: mit" in (tmp_path / "hf" / "README.md").read_text()
    assert "not empty; replace it with --overwrite" in refused(capsys, "export", run, "--to", tmp_path / "hf")
    pytest.importorskip("transformers")
    out = answers(capsys, "export", run, "--to", tmp_path / "hf", "--overwrite", "--check", fasta)
    assert "transformers against dnar2mae on 16 windows (" in out
    answers(capsys, "export", run / "checkpoints" / "step-00000007", "--to", tmp_path / "hf", "--overwrite")


def test_embed_then_plot(run, fasta, tmp_path, capsys):
    table = tmp_path / "t.csv"
    texts = ["ACGTTGCA", "TTTTGCAC", "GCGCGATA", "ACACACGT"]
    pd.DataFrame({"sequence": texts, "label": [0, 1, 0, 1]}).to_csv(table, index=False)
    out = answers(capsys, "embed", run, table, "--out", tmp_path / "x.npy", "--both-strands", "--layer", "1")
    assert "x.npy: 4 rows of 16, by" in out
    assert np.load(tmp_path / "x.npy").shape == (4, 16)
    answers(capsys, "plot", "embedding", tmp_path / "x.npy", "--label", "label", "--out", tmp_path / "x.png")
    line = refused(capsys, "plot", "embedding", tmp_path / "x.npy", "--label", "gc", "--out", tmp_path / "x.png")
    assert "--label must be one of label, got gc" in line
    answers(capsys, "embed", run, fasta, "--out", tmp_path / "y.npy", "--tile-bp", "5000", "--pool", "max")
    assert np.load(tmp_path / "y.npy").shape == (6, 16)
    assert "--genome must be given" in refused(capsys, "embed", run, tmp_path / "r.bed", "--out", tmp_path / "z.npy")


def test_score_variants(run, fasta, tmp_path, capsys):
    pytest.importorskip("pysam")
    genome = Genome.open(fasta)
    rows = []
    for position in range(500, 540):
        ref = genome.fetch("one", position - 1, position)
        rows.append(f"one\t{position}\t.\t{ref}\t{'ACGT'.replace(ref, '')[0]}\t.\t.\tBAD={position % 2}\n")
    header = '##fileformat=VCFv4.2\n##INFO=<ID=BAD,Number=1,Type=Integer,Description="x">\n'
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    (tmp_path / "in.vcf").write_text(header + columns + "".join(rows))
    command = ["score-variants", run, "--genome", fasta, "--vcf", tmp_path / "in.vcf"]
    out = answers(capsys, *command, "--out", tmp_path / "out.vcf.gz", "--evaluate", "BAD", "--one-strand")
    assert "40 records, 0 REF mismatches; alleles: 40 scored" in out
    assert "AUROC 0." in out
    assert "20 positive and 20 negative alleles" in out
    answers(capsys, *command, "--out", tmp_path / "out.tsv", "--distance", "--window-bp", "32")
    assert pd.read_csv(tmp_path / "out.tsv", sep="\t")["distance"].gt(0).all()
    assert "--out must end in" in refused(capsys, *command, "--out", tmp_path / "out.txt")
    assert "--window-bp must be at least 16" in refused(
        capsys, *command, "--out", tmp_path / "o.tsv", "--window-bp", "2"
    )


def test_plot_mutagenesis_and_runs(run, fasta, tmp_path, capsys):
    out = tmp_path / "x.png"
    command = ["plot", "mutagenesis", run, "--genome", fasta, "--out", out, "--region"]
    assert f"Wrote {out}" in answers(capsys, *command, "one:1,000-1,012")
    for bad in ("one", "one:5", "one:9-5", "one:0-5000", ":1-5"):
        assert "--region must be NAME:START-END" in refused(capsys, *command, bad)
    assert "not a run whose metrics can be read" in refused(capsys, "plot", "runs", run, "--out", out)


def test_help_is_light():
    for command in ("export", "embed", "score-variants", "plot"):
        code = (
            f"import sys; sys.argv = ['dnar2mae', {command!r}, '--help']\n"
            "from dnar2mae.cli import main\n"
            "try:\n    main()\nexcept SystemExit:\n    pass\n"
            "heavy = [m for m in ('torch', 'pandas', 'matplotlib', 'numpy', 'pysam') if m in sys.modules]\n"
            "sys.exit(', '.join(heavy) or 0)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
