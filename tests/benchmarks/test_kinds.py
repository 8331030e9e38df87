"""Rows that are not DNA go through the same suites, probes and reports."""

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import sparse

from dnar2mae.benchmarks.tasks.data import find_task, load_task
from dnar2mae.benchmarks.tasks.suite import load_suite
from dnar2mae.cli import main
from dnar2mae.errors import ConfigError, DataError
from dnar2mae.modalities import registry
from tests.modalities.kinds import cell_counts, write_cells


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """Three clouds on two of eight axes, without a dev split; two test rows are training rows."""
    monkeypatch.setitem(registry._BUILT_IN, "arrays", "tests.benchmarks.arrays:SPEC")
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 300), ("test", 90)):
        labels = np.arange(count) % 3
        rows = rng.normal(size=(count, 8)).astype(np.float32)
        rows[:, 0] += 4 * (labels == 1)
        rows[:, 1] += 4 * (labels == 2)
        arrays |= {split: rows, f"{split}_labels": np.array(["nil", "one", "two"])[labels]}
    arrays["test"][:2] = arrays["train"][[0, 4]]
    (tmp_path / "clouds").mkdir()
    np.savez(tmp_path / "clouds" / "rows.npz", **arrays)
    task = {"classes": ["nil", "one", "two"], "metric": "accuracy", "options": {"file": "rows.npz"}}
    (tmp_path / "suite.yaml").write_text(
        yaml.safe_dump({"name": "digits", "modality": "arrays", "tasks": {"clouds": task}})
    )
    (tmp_path / "model").mkdir()
    np.save(tmp_path / "model" / "matrix.npy", np.eye(8, 2, dtype=np.float32))
    (tmp_path / "model" / "config.yaml").write_text("modality: arrays\n")
    return tmp_path


def test_splits_and_duplicates_of_other_rows(digits):
    task = load_suite(str(digits)).tasks[0]
    data = load_task(task, digits / "clouds")
    assert len(data.train) + len(data.dev) == 300
    assert data.is_duplicate.tolist() == [True, True] + [False] * 88
    assert not any(found.reverse.any() for found in data.duplicates.values())
    assert data.digest == load_task(task, digits / "clouds").digest


def test_a_model_of_other_rows_is_probed_beside_its_random_control(digits, capsys):
    out = digits / "out"
    command = ["benchmark", "run", str(digits), "--model", str(digits / "model"), "--out", str(out)]
    assert main([*command, "--method", "probe", "knn", "--seeds", "2"]) == 0
    printed = capsys.readouterr().out
    assert "small CNN" not in printed
    assert "k-mer" not in printed
    summary = pd.read_csv(out / "summary.csv").set_index(["model", "method"])
    both = {f"{raw}{more}" for raw in ("numbers", "first two") for more in ("", " + model")}
    assert set(summary.index.get_level_values("model")) == {"model", "model (random weights)"} | both
    assert summary.loc[("numbers + model", "probe"), "score"] > 0.85
    pairs = pd.read_csv(out / "comparisons.csv").query("task == 'all'").set_index(["model", "against"])
    assert pairs.loc[("numbers + model, probe", "numbers, probe"), "says"] == "what the embedding adds"
    assert pairs.loc[("model, probe", "model (random weights), probe"), "says"] == "what pretraining adds"
    assert summary.loc[("model", "probe"), "score"] > 0.85
    assert summary.loc[("model", "knn"), "score"] > 0.85
    assert summary.loc[("model (random weights)", "probe"), "num_seeds"] == 2
    assert (summary["num_duplicates"] == 2).all()
    assert "without duplicates" in (out / "report.md").read_text()


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["--both-strands"], 2, "--both-strands needs rows with two strands; those of suite digits are arrays"),
        (["--method", "finetune"], 1, "model: method finetune needs an encoder of tokens; arrays has probe and knn"),
    ],
)
def test_what_is_for_dna_alone_is_refused(digits, capsys, flags, status, message):
    command = ["benchmark", "run", str(digits), "--model", str(digits / "model"), "--out", str(digits / "out")]
    assert main([*command, "--seeds", "1", *flags]) == status
    printed = capsys.readouterr()
    assert message in printed.out + printed.err


def test_an_unknown_kind_is_named(tmp_path):
    (tmp_path / "suite.yaml").write_text("name: x\nmodality: smells\ntasks: {a: {}}\n")
    with pytest.raises(ConfigError, match="suite.yaml: modality must be one of cell, dna, image, text, got 'smells'"):
        load_suite(str(tmp_path))
    (tmp_path / "suite.yaml").write_text("name: x\ntasks: {a: {options: {file: x.npz}}}\n")
    suite = load_suite(str(tmp_path))
    with pytest.raises(ConfigError, match="task a: tasks of DNA have no options, got file; a suite of other rows"):
        find_task(suite, suite.tasks[0], tmp_path)


def test_samples_of_a_run_are_probed(tmp_path, capsys):
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    pixels = rng.random((120, 8, 8)) * 0.2 + np.where(labels[:, None, None], np.eye(8), np.eye(8)[::-1]) * 0.8
    (tmp_path / "lines").mkdir()
    np.savez(tmp_path / "lines" / "x.npz", images=(pixels * 255).astype(np.uint8), labels=labels)
    task = {"classes": ["0", "1"], "metric": "accuracy", "options": {"file": "x.npz"}}
    (tmp_path / "suite.yaml").write_text(
        yaml.safe_dump({"name": "lines", "modality": "image", "tasks": {"lines": task}})
    )
    sizes = "--model.width 32 --model.depth 1 --model.mlp-width 32 --data.patch 4 --steps 3 --batch-size 8".split()
    file, run, out = str(tmp_path / "lines" / "x.npz"), str(tmp_path / "run"), str(tmp_path / "out")
    assert main(["pretrain", "--modality", "image", file, "--out", run, *sizes]) == 0
    command = [
        "benchmark",
        "run",
        str(tmp_path),
        "--model",
        run,
        "--out",
        out,
        "--method",
        "probe",
        "knn",
        "--seeds",
        "1",
    ]
    assert main(command) == 0, capsys.readouterr()
    summary = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert set(summary["method"]) == {"probe", "knn"}
    assert set(summary["model"]) == {"run", "run (random weights)", "pixels", "pixels + run"}
    chosen = summary.set_index(["model", "method"]).loc[("run", "probe"), "chosen"]
    assert any(kind in chosen for kind in ("all", "units", "bins"))
    assert (summary["score"] > 0.7).all()  # two diagonals: any features tell them apart

    task["options"] |= {"label": "digit", "labels": "none.csv"}
    (tmp_path / "lines" / "none.csv").write_text("sign\na\n")
    (tmp_path / "suite.yaml").write_text(
        yaml.safe_dump({"name": "lines", "modality": "image", "tasks": {"lines": task}})
    )
    assert main(command) == 2
    assert "no labels: expected a column 'digit', got the columns sign" in capsys.readouterr().err


def split_of_cells(folder, counts, names=None, form=np.array, **data):
    """The split of each cell, by its number, in a suite of cells of two classes."""
    anndata = pytest.importorskip("anndata")
    folder.mkdir()
    (folder / "types").mkdir()
    path = write_cells(folder / "types" / "cells.h5ad", counts, names, form=form)
    cells = anndata.read_h5ad(path)
    cells.obs["type"] = np.where(np.arange(len(counts)) % 2, "a", "b")
    cells.write_h5ad(path)
    options = {"file": "cells.h5ad", "label": "type", "data": data}
    tasks = {"types": {"classes": ["a", "b"], "metric": "accuracy", "options": options}}
    (folder / "suite.yaml").write_text(yaml.safe_dump({"name": "cells", "modality": "cell", "tasks": tasks}))
    found = load_task(load_suite(str(folder)).tasks[0], folder / "types")
    splits = {"train": found.train, "dev": found.dev, "test": found.test}
    return {row.number: name for name, split in splits.items() for row in split.rows}


def test_a_cell_keeps_its_split_whatever_the_others_and_the_normalisation(tmp_path):
    counts, _ = cell_counts(90, 12)
    small = split_of_cells(tmp_path / "small", counts[:60])
    assert set(small.values()) == {"train", "dev", "test"}
    grown = split_of_cells(tmp_path / "grown", counts)
    assert {number: grown[number] for number in small} == small
    assert split_of_cells(tmp_path / "plain", counts[:60], normalisation="log1p_cp10k") == small
    assert split_of_cells(tmp_path / "sparse", counts[:60], form=sparse.csc_matrix) == small
    turned = [f"gene{i}" for i in range(12)][::-1]
    assert split_of_cells(tmp_path / "turned", counts[:60, ::-1], names=turned) == small


def test_a_value_that_is_no_number_is_named(tmp_path):
    counts, _ = cell_counts(60, 12)
    counts[7, 3] = np.nan
    with pytest.raises(DataError, match="values must be finite"):
        split_of_cells(tmp_path / "nan", counts)


def test_equal_cells_share_a_split(tmp_path):
    counts, _ = cell_counts(60, 12)
    counts[30:] = counts[:30]
    splits = split_of_cells(tmp_path / "twice", counts)
    assert all(splits[number] == splits[number + 30] for number in range(30))
