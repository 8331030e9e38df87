"""A kind of data of another package, installed beside ours, in the same loop."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np

EXAMPLE = Path(__file__).parents[2] / "docs" / "plugin_example"
SIZES = ("--model.width 16 --model.depth 1 --model.heads 1 --model.mlp-width 16 --device cpu --precision fp32").split()


def installed(folder: Path) -> dict[str, str]:
    """Environment in which the example lies in a folder as pip installs it: the package and its metadata."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
    for package in project["tool"]["setuptools"]["packages"]:
        shutil.copytree(EXAMPLE / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    name, version = project["project"]["name"], project["project"]["version"]
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = project["project"]["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups]
    (metadata / "entry_points.txt").write_text("".join(lines))
    return {**os.environ, "PYTHONPATH": str(folder)}


def run(environment, *argv):
    command = [sys.executable, "-m", "dnar2mae.cli", *map(str, argv)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_example_is_short():
    lines = [line for path in EXAMPLE.rglob("*.py") for line in path.read_text().splitlines()]
    assert 20 < len(lines) < 80


def test_an_installed_kind_of_data_trains_resumes_and_is_refused_like_ours(tmp_path):
    environment = installed(tmp_path / "site")
    rng = np.random.default_rng(0)
    time, phase = np.arange(64) / 10, rng.uniform(0, 6, (200, 1))
    np.savetxt(tmp_path / "series.txt", np.sin(time + phase))
    out = tmp_path / "run"
    flags = [*SIZES, "--steps", "100", "--batch-size", "32", "--optimizer.lr", "0.01", "--optimizer.warmup-steps", "5"]
    done = run(environment, "pretrain", "--modality", "signals", tmp_path / "series.txt", "--out", out, *flags)
    assert done.returncode == 0, done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert summary["held_out"] < 0.8 * summary["yardstick"]["mean series"]
    assert summary["unit"] in done.stdout
    assert run(environment, "pretrain", "--out", out, "--resume").returncode == 0
    missing = run(environment, "pretrain", "--modality", "signals", "none.txt", "--out", tmp_path / "no", *flags)
    assert missing.returncode == 2
    assert missing.stderr.startswith("dnar2mae: none.txt: cannot be read in stretches of 8")
    unknown = run({**environment, "PYTHONPATH": ""}, "pretrain", "--modality", "signals", "x", "--out", tmp_path / "no")
    assert unknown.returncode == 2
    assert "--modality must be one of" in unknown.stderr
