"""Models and genomes that variants are scored with."""

import pytest

from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model
from tests.random_run import write_run

from .helpers import CNN, KMERS, LAYOUT


@pytest.fixture(
    params=[*((LAYOUT, *kmer) for kmer in KMERS), (CNN, 1, 1), (CNN, 3, 1)], ids=lambda p: f"{p[0].backbone}-{p[1:]}"
)
def model(request, tmp_path):
    return Model.from_pretrained(write_run(tmp_path / "run", *request.param), device="cpu")


@pytest.fixture
def single(tmp_path):
    return Model.from_pretrained(write_run(tmp_path / "single", LAYOUT), device="cpu")


@pytest.fixture
def genome(fasta):
    return Genome.open(fasta)


@pytest.fixture
def flipped(genome, tmp_path):
    """The genome's other strand."""
    table = str.maketrans("ACGT", "TGCA")
    texts = (
        f">{n}\n{genome.fetch(n, 0, int(s))[::-1].translate(table)}\n"
        for n, s in zip(genome.names, genome.lengths, strict=True)
    )
    (tmp_path / "flipped.fa").write_text("".join(texts))
    return Genome.open(tmp_path / "flipped.fa")
