"""Commands refuse to write over what they read, by whatever path or link it is reached."""

import numpy as np
import pytest

from dnar2mae.cli import main
from tests.random_run import write_run


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Run a command in a folder with a run, ``run``, and the files that are named, and return its one line."""
    write_run(tmp_path / "run")
    monkeypatch.chdir(tmp_path)

    def call(*argv, files):
        for name in files:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            if not (tmp_path / name).exists():
                (tmp_path / name).write_text(f"{name} as it was")
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert main([str(a) for a in argv]) == 2
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        return capsys.readouterr().err.strip().splitlines()[-1]

    return call


RULE = "must not write over an input"


def test_score_variants(refused, tmp_path):
    command = ["score-variants", "run", "--genome", "g.fa", "--vcf", "in.vcf", "--out"]
    (tmp_path / "link.vcf").symlink_to(tmp_path / "in.vcf")
    for out in ("in.vcf", "./in.vcf", tmp_path / "in.vcf", "link.vcf"):
        assert f"--out {RULE}: {str(out).removeprefix('./')} is in.vcf" in refused(*command, out, files=["in.vcf"])
    (tmp_path / "g.tsv").symlink_to(tmp_path / "g.fa")
    assert RULE in refused(*command, "g.tsv", files=["g.fa"])
    controls = ["score-variants", "run", "--genome", "g.fa", "--controls", "genes.csv", "--out"]
    assert RULE in refused(*controls, "genes.csv", files=["genes.csv"])
    (tmp_path / "x.json").symlink_to(tmp_path / "g.fa")
    assert RULE in refused(*controls, "x.csv", files=["g.fa"])


def test_embed_and_the_table_beside_its_output(refused, tmp_path):
    assert RULE in refused("embed", "run", "x.tsv", "--out", "x.npy", files=["x.tsv"])
    (tmp_path / "c.h5ad").touch()
    assert RULE in refused("embed", "run", "c.h5ad", "--out", "c.h5ad", files=["c.h5ad"])
    bed = ["embed", "run", "r.bed", "--genome", "g.parquet", "--out", "g.parquet"]
    assert RULE in refused(*bed, files=["r.bed", "g.parquet"])


def test_a_region_of_a_file_is_that_file(refused):
    fill = ["generate", "run", "--fill-n", "g.fa:chr2:1-5", "--out", "g.fa"]
    assert f"{RULE}: g.fa is g.fa:chr2:1-5" in refused(*fill, files=["g.fa"])


def test_an_assembly_report_is_an_input(refused):
    command = ["score-variants", "run", "--genome", "g.fa", "--vcf", "in.vcf", "--assembly-report", "r.tsv"]
    assert RULE in refused(*command, "--out", "r.tsv", files=["in.vcf", "r.tsv"])


def test_the_audit_of_a_suite(refused, tmp_path):
    (tmp_path / "suite.yaml").write_text("name: x\ntasks:\n  a: {}\n")
    for name, sequence in (("train", "ACGT"), ("test", "GGCA")):
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a" / f"{name}.csv").write_text(f"sequence,label\n{sequence},0\n")
    assert RULE in refused("benchmark", "audit", tmp_path, "--out", "a/test.csv", files=[])


def test_report(refused):
    command = ["report", "run", "--genes", "genes.gff3", "--genome", "g.html", "--overwrite"]
    assert f"--out {RULE}: g.html is g.html" in refused(*command, "--out", "g.html", files=["genes.gff3", "g.html"])


def test_tokenizer_train(refused):
    argv = ["tokenizer", "train", "a.txt", "b.txt", "--out", "b.txt", "--overwrite"]
    assert RULE in refused(*argv, files=["a.txt", "b.txt"])


def test_export(refused, tmp_path):
    assert main(["export", "run", "--to", "out"]) == 0
    assert f"--to {RULE}" in refused("export", "out", "--to", "out", "--overwrite", files=[])
    (tmp_path / "run").rename(tmp_path / "out" / "run")
    assert f"--to {RULE}" in refused("export", "out/run", "--to", "out", "--overwrite", files=[])


def test_benchmark_build(refused):
    argv = ["benchmark", "build", "--genome", "s/g.fa", "--annotation", "a.gff3", "--out", "s", "--overwrite"]
    assert "s is s/g.fa or holds it" in refused(*argv, files=["s/g.fa", "s/suite.yaml", "a.gff3"])


def test_covariance_and_compare(refused, tmp_path):
    (tmp_path / "c").mkdir()
    np.save(tmp_path / "c" / "covariance.npy", np.eye(3))
    assert RULE in refused("covariance", "--matrix", "c/covariance.npy", "--out", "c", files=[])
    (tmp_path / "labs" / "runs").mkdir(parents=True)
    argv = ["compare", "--modality", "text", "labs/report.md", "--laws", "fixed:0.5", "--out", "labs"]
    assert RULE in refused(*argv, files=["labs/report.md"])


def test_plots(refused, tmp_path):
    (tmp_path / "x.png").symlink_to(tmp_path / "x.npy")
    assert RULE in refused("plot", "embedding", "x.npy", "--out", "x.png", files=["x.npy"])
    argv = ["plot", "mutagenesis", "run", "--genome", "g.png", "--region", "a:0-5", "--out", "g.png"]
    assert RULE in refused(*argv, files=["g.png"])


def test_pretrain_over_a_run(refused):
    argv = ["pretrain", "--modality", "text", "run/metrics.jsonl", "--out", "run", "--overwrite", "--device", "cpu"]
    assert RULE in refused(*argv, files=["run/metrics.jsonl"])
