"""Inputs of commands from elsewhere: an address, a region of a file, other names of sequences, other compression."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from dnar2mae.cli import main
from dnar2mae.genome.store import Genome
from dnar2mae.modalities.cell.config import CellConfig
from dnar2mae.modalities.cell.tenx import open_cells
from dnar2mae.modalities.image.arrays import open_images
from dnar2mae.modalities.image.config import ImageConfig
from dnar2mae.modalities.text.readers import texts
from dnar2mae.storage.cache import default_cache
from tests.genome.test_names import HEADER
from tests.random_run import write_run
from tests.storage.server import serving

REPORT = f"{HEADER}\n1\tassembled-molecule\t1\tChromosome\tCM1.1\t=\tone\tPrimary Assembly\t20000\tchr1\n"
TINY = ["--model.width", "16", "--model.depth", "1", "--model.mlp-width", "16", "--steps", "2", "--batch-size", "2"]
TINY += ["--data.window-bp", "32", "--validation-windows", "4", "--device", "cpu", "--precision", "fp32"]


@pytest.fixture
def server():
    pytest.importorskip("fsspec")
    with serving() as state:
        yield state


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def done(capsys, *argv):
    code = main([str(argument) for argument in argv])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured


def test_pretrain_from_addresses(server, fasta, tmp_path, capsys):
    zstandard = pytest.importorskip("zstandard")
    server.files["/genome.fa.gz"] = gzip.compress(fasta.read_bytes())
    server.files["/blacklist.bed"] = zstandard.compress(b"chr1\t0\t1000\nchr7\t0\t10\nchr8\t0\t10\n")
    server.files["/report.txt"] = REPORT.encode()
    address = f"{server.url}/genome.fa.gz"
    out = tmp_path / "out"
    with pytest.warns(UserWarning, match="blacklist.bed: 2 of 3 regions are left out: no genome has chr7, chr8"):
        shown = done(
            capsys,
            *["pretrain", address, "--out", out, "--data.exclude", f"{server.url}/blacklist.bed", *TINY],
            *["--data.assembly-report", f"{server.url}/report.txt"],
        )
    assert f"downloaded {address}" in shown.err
    assert yaml.safe_load((out / "config.yaml").read_text())["data"]["genomes"] == [address]
    assert len([request for request in server.gets if "genome" in request]) == 1
    server.requests.clear()
    done(capsys, "pretrain", address, "--out", tmp_path / "again", *TINY)
    assert server.gets == []


def test_pretrain_and_tokenizer_on_regions(fasta, tmp_path, capsys):
    regions = f"{fasta}:one:1,001-9,000,two"
    done(capsys, "pretrain", regions, "--out", tmp_path / "out", *TINY)
    done(capsys, "tokenizer", "train", regions, "--modality", "dna", "--out", tmp_path / "t.json")
    assert not (default_cache() / "genomes").exists()


def test_embed_regions_and_addresses(server, run, fasta, tmp_path, capsys):
    def rows(*argv):
        done(capsys, "embed", run, *argv, "--out", tmp_path / "x.npy")
        return np.load(tmp_path / "x.npy"), pd.read_csv(tmp_path / "x.tsv", sep="\t")

    vectors, table = rows(f"{fasta}:one:101-300,two:1-50")
    assert table["name"].tolist() == ["one:101-300", "two:1-50"]
    assert table["end"].tolist() == [200, 50]
    server.files["/g.fa"], server.files["/r.bed"] = fasta.read_bytes(), b"1\t100\t300\ntwo\t0\t50\n"
    server.files["/report.txt"] = REPORT.encode()
    found = rows(
        *[f"{server.url}/r.bed", "--genome", f"{server.url}/g.fa", "--assembly-report", f"{server.url}/report.txt"]
    )
    np.testing.assert_array_equal(found[0], vectors)
    np.testing.assert_array_equal(rows(f"{server.url}/g.fa:one:101-300,two:1-50")[0], vectors)
    letters = Genome.open(fasta).fetch("one", 100, 300)
    server.files["/t.csv"] = f"sequence,label\n{letters},1\n".encode()
    np.testing.assert_array_equal(rows(f"{server.url}/t.csv?download=1")[0], vectors[:1])


def test_errors_of_regions_are_one_line(run, fasta, tmp_path, capsys):
    assert main(["embed", str(run), f"{fasta}:tow:1-50", "--out", str(tmp_path / "x.npy")]) == 2
    assert capsys.readouterr().err == f"dnar2mae: {fasta}: no sequence 'tow'; did you mean two?\n"


def test_score_variants_from_addresses(server, run, fasta, tmp_path, capsys):
    pytest.importorskip("pysam")
    ref = Genome.open(fasta).fetch("one", 499, 500)
    line = f"chr1\t500\t.\t{ref}\t{'ACGT'.replace(ref, '')[0]}\t.\t.\t.\n"
    header = "##fileformat=VCFv4.2\n##contig=<ID=chr1>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    server.files["/g.fa"], server.files["/in.vcf"] = fasta.read_bytes(), (header + line).encode()
    server.files["/report.txt"] = REPORT.encode()
    command = ["score-variants", run, "--genome", f"{server.url}/g.fa", "--vcf", f"{server.url}/in.vcf"]
    command += ["--assembly-report", f"{server.url}/report.txt", "--out", tmp_path / "out.tsv"]
    assert "1 records, 0 REF mismatches; alleles: 1 scored" in done(capsys, *command).out


def test_build_a_suite_from_addresses(server, tmp_path, capsys):
    assert main(["simulate", "--out", str(tmp_path / "sim"), "--length-bp", "1000000", "--genes-per-mb", "150"]) == 0
    zstandard = pytest.importorskip("zstandard")
    server.files["/sim.fa"] = (tmp_path / "sim.fa").read_bytes()
    server.files["/genes.gff3.zst"] = zstandard.compress((tmp_path / "sim.gff3").read_bytes())
    addresses = ["--genome", f"{server.url}/sim.fa", "--annotation", f"{server.url}/genes.gff3.zst"]
    done(capsys, "benchmark", "build", *addresses, "--out", tmp_path / "suite", "--tasks", "strand")
    assert (tmp_path / "suite" / "suite.yaml").is_file()


def test_other_kinds_of_data(server, tmp_path):
    server.files["/t.jsonl.gz"] = gzip.compress(b'{"text": "a b"}\n{"text": "c"}\n')
    assert texts(Path(f"{server.url}/t.jsonl.gz"), "text") == ["a b", "c"]
    np.save(tmp_path / "x.npy", np.zeros((3, 8, 8), np.uint8))
    server.files["/x.npy"] = (tmp_path / "x.npy").read_bytes()
    assert len(open_images(Path(f"{server.url}/x.npy"), ImageConfig())) == 3
    anndata = pytest.importorskip("anndata")
    anndata.AnnData(np.ones((4, 3), np.float32)).write_h5ad(tmp_path / "c.h5ad")
    server.files["/c.h5ad"] = (tmp_path / "c.h5ad").read_bytes()
    assert open_cells(f"{server.url}/c.h5ad", CellConfig()).num_cells == 4
