import csv

import numpy as np
import pytest

from dnar2mae.finetuning import FinetuneConfig
from tests.random_run import write_run


def rich_rows(count, seed=0, length=64):
    """Sequences of which every second is rich in G and C, and labels that depend on it."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        has = i % 2
        gc = 0.58 if has else 0.42
        sequence = "".join(rng.choice(list("ACGT"), length, p=[(1 - gc) / 2, gc / 2, gc / 2, (1 - gc) / 2]))
        noise = rng.normal() * 0.3
        part = ("train", "train", "train", "dev", "test")[i % 5]
        rows.append(
            {
                "sequence": sequence,
                "split": part,
                "label": ("no", "yes")[has],
                "value": round(has + noise, 3),
                "truth_value": has,
                "reads": rng.poisson(2 + 6 * has),
                "one": has,
                "two": int(rng.random() < 0.2 + 0.6 * has),
            }
        )
    return rows


def write_table(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="session")
def random_run(tmp_path_factory):
    """A run directory of a small random model of single bases, with windows of 64 bp."""
    return write_run(tmp_path_factory.mktemp("pretrained") / "run")


@pytest.fixture
def table(tmp_path):
    return write_table(tmp_path / "table.csv", rich_rows(200))


@pytest.fixture
def settings(random_run, table):
    """Settings of a short fine-tuning on the table."""

    def make(**changes):
        usual = {"model": str(random_run), "data": str(table), "epochs": 2, "device": "cpu", "checkpoint_every": 5}
        return FinetuneConfig(**usual | changes)

    return make


@pytest.fixture
def genome(tmp_path):
    """A genome of two sequences, and a BED file of regions rich in G and C."""
    rng = np.random.default_rng(3)
    regions = {
        name: [(at, at + 110) for at in range(30, end - 200, 250)] for name, end in (("one", 4000), ("two", 2200))
    }
    with (tmp_path / "genome.fa").open("w") as fasta, (tmp_path / "rich.bed").open("w") as bed:
        for name, length in (("one", 4000), ("two", 2200)):
            bases = rng.choice(list("ACGT"), length, p=[0.35, 0.15, 0.15, 0.35])
            for start, end in regions[name]:
                bases[start:end] = rng.choice(list("ACGT"), end - start, p=[0.1, 0.4, 0.4, 0.1])
                bed.write(f"{name}\t{start}\t{end}\trich\n")
            fasta.write(f">{name}\n{''.join(bases)}\n")
    return tmp_path / "genome.fa"
