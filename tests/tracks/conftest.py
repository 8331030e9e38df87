from dataclasses import replace

import pytest

from dnar2mae.inference import Model
from tests.random_run import write_run
from tests.variants.helpers import CNN, LAYOUT

SYMMETRIC = replace(CNN, conv_groups=2, strand_symmetric=True)


@pytest.fixture(params=[LAYOUT, CNN, SYMMETRIC], ids=["transformer", "cnn", "symmetric"])
def run(request, tmp_path):
    """A run with windows of 64 bp."""
    return write_run(tmp_path / "run", request.param)


@pytest.fixture
def model(run):
    return Model.from_pretrained(run, device="cpu")


@pytest.fixture
def single(tmp_path):
    return Model.from_pretrained(write_run(tmp_path / "single", CNN), device="cpu")


@pytest.fixture
def small(tmp_path, fasta):
    """Two sequences, one of them with N and lower case, and one shorter than a window."""
    bases = fasta.read_text().split("\n")[1]
    path = tmp_path / "small.fa"
    path.write_text(f">a\n{bases[:100]}{'N' * 9}{bases[100:210].lower()}\n>b\n{bases[300:330]}\n>c\n{bases[400:470]}\n")
    return path
