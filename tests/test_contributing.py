"""The walks of CONTRIBUTING.md: each diff is applied to a copy of the tree, and the commands under it run there."""

import csv
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.programs import run_in_shell

ROOT = Path(__file__).parents[1]
INSIDE = ("kernels", "cli", "benchmarks")  # installed inside the package
WALKS = re.findall(
    r"^## (.+?)\n.*?```diff\n(.*?)```\n+```bash\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S
)
DIFFS = {title.partition(":")[0]: diff for title, diff, _ in WALKS}
COMMANDS = {title.partition(":")[0]: commands for title, _, commands in WALKS}

pytestmark = [pytest.mark.long, pytest.mark.skipif(shutil.which("git") is None, reason="diffs are applied by git")]


@pytest.fixture
def tree(tmp_path):
    """A copy of the code in which the package is whole, so that it is imported from the copy's root."""
    for name in ("dnar2mae", *INSIDE, "tests"):
        # with compiled files, which are as new as their sources in the copy too: compiling all takes seconds
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("results", "published"))
    for name in INSIDE:
        (tmp_path / "dnar2mae" / name).symlink_to(tmp_path / name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def change(tree, addition):
    alone = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)}  # not as part of a repository around it
    applied = subprocess.run(
        ["git", "apply", "-"], cwd=tree, env=alone, input=DIFFS[addition], text=True, capture_output=True, check=False
    )
    assert applied.returncode == 0, applied.stderr


def walk(tree, addition):
    """Output of an addition's commands."""
    change(tree, addition)
    return run_in_shell(COMMANDS[addition], tree, PYTHONPATH=str(tree))


def test_there_is_a_walk_for_each_addition():
    assert list(DIFFS) == ["A mask law", "A backbone", "A modality", "A benchmark suite", "A kernel"]


def test_every_file_it_names_exists():
    text = re.sub(r"```.*?```", "", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.S)
    named = re.findall(r"`((?:[\w.]+/)+(?:[\w.]+\.\w+)?)`|\]\(([\w/.]+)\)", text)
    missing = {path[0] or path[1] for path in named if not (ROOT / (path[0] or path[1])).exists()}
    assert len(named) > 10
    assert missing <= {"data/sites/tata/train.csv", "dist/"}  # the reader's, and what make release writes


def test_a_mask_law(tree):
    printed = walk(tree, "A mask law")
    lines = map(json.loads, (tree / "runs/sine/metrics.jsonl").read_text().splitlines())
    ratios = [line["ratio"] for line in lines if line["event"] == "train"]
    assert ratios == pytest.approx([0.05, 0.5, 0.05])
    [row] = [line.split() for line in printed.splitlines() if line.startswith("sine:0.1,0.5")]
    assert float(row[1]) == pytest.approx(0.1 + 0.4 * 2 / np.pi, abs=1e-3)


def test_a_backbone(tree):
    walk(tree, "A backbone")
    assert yaml.safe_load((tree / "runs/gru/config.yaml").read_text())["model"]["backbone"] == "gru"
    assert json.loads((tree / "runs/gru/summary.json").read_text())["held_out"] > 0


def test_a_modality(tree):
    walk(tree, "A modality")
    summary = json.loads((tree / "runs/signal/summary.json").read_text())
    assert summary["held_out"] < summary["yardstick"]["mean series"]
    assert np.load(tree / "vectors.npy").shape == (200, 16)


def test_a_benchmark_suite(tree):
    rng = np.random.default_rng(0)
    for task, site in (("tata", "TATAAA"), ("cpg", "CGCGCG")):
        folder = tree / "data" / "sites" / task
        folder.mkdir(parents=True)
        for split, number in (("train", 80), ("test", 40)):
            rows = ["".join(rng.choice(list("ACGT"), 60)) for _ in range(number)]
            rows = [site * 3 + row[len(site) * 3 :] if i % 2 else row for i, row in enumerate(rows)]
            lines = ["sequence,label", *(f"{row},{i % 2}" for i, row in enumerate(rows))]
            (folder / f"{split}.csv").write_text("\n".join(lines) + "\n")
    printed = walk(tree, "A benchmark suite")
    assert printed.count("present") == 2
    with (tree / "results/summary.csv").open(newline="") as handle:
        assert all(float(row["score"]) > 0.5 for row in csv.DictReader(handle))


def test_a_kernel(tree):
    assert " passed" in walk(tree, "A kernel")
    with (tree / "rows/speed.csv").open(newline="") as handle:
        timed = {(row["op"], row["backend"], row["mode"]) for row in csv.DictReader(handle)}
    for backend in ("reference", "eager", "triton"):
        assert {("squared_relu", backend, "forward"), ("squared_relu", backend, "forward+backward")} <= timed


@pytest.mark.skipif(importlib.util.find_spec("ruff") is None, reason="ruff is not installed")
def test_together_they_are_formatted_and_without_lint(tree):
    for addition in DIFFS:
        change(tree, addition)
    for command in (["format", "--check"], ["check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", "."],
            cwd=tree,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
