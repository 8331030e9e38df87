import csv

import numpy as np
import pytest
import yaml

from dnar2mae.config import DataConfig, ModelConfig, PretrainConfig
from dnar2mae.training.pretrain import pretrain


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("sequence", "label"), *rows])


def motif_rows(count, seed, length=48, motif="TATAAT"):
    """Random sequences; those of class 1 have a motif somewhere."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        bases = list(rng.choice(list("ACGT"), length))
        if i % 2:
            at = rng.integers(0, length - len(motif))
            bases[at : at + len(motif)] = motif
        rows.append(("".join(bases), i % 2))
    return rows


@pytest.fixture
def motif_suite(tmp_path):
    """A custom suite of one task; one test row repeats a training row, one its reverse complement."""
    folder = tmp_path / "suite"
    rows = {split: motif_rows(count, seed) for seed, (split, count) in enumerate([("train", 120), ("dev", 40)])}
    twin, other = rows["train"][0], rows["train"][1]
    reverse = other[0].translate(str.maketrans("ACGT", "TGCA"))[::-1], other[1]
    rows["test"] = [*motif_rows(60, 9), twin, reverse]
    for split, of_split in rows.items():
        write_rows(folder / "motif" / f"{split}.csv", of_split)
    task = {"classes": ["without", "with"], "length_bp": 48}
    (folder / "suite.yaml").write_text(yaml.safe_dump({"name": "mine", "tasks": {"motif": task}}))
    return folder


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A run of three steps."""
    folder = tmp_path_factory.mktemp("tiny")
    letters = "".join(np.random.default_rng(0).choice(list("ACGT"), 6000))
    (folder / "g.fa").write_text(f">one\n{letters}\n")
    config = PretrainConfig(
        data=DataConfig(genomes=(str(folder / "g.fa"),), window_bp=64),
        model=ModelConfig(width=16, depth=2, heads=2, mlp_width=16),
        steps=3,
        batch_size=2,
        validation_windows=4,
        device="cpu",
    )
    pretrain(config, folder / "run")
    return folder / "run"
