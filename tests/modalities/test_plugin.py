"""A kind of data of another package, installed beside ours, in the same loop."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dnar2mae.cli import main

EXAMPLE = Path(__file__).parents[2] / "docs" / "plugin_example"
FLAGS = (
    "--model.width 16 --model.depth 1 --model.heads 1 --model.mlp-width 16 --device cpu --precision fp32 "
    "--steps 100 --batch-size 32 --validate-every 100 --optimizer.lr 0.01 --optimizer.warmup-steps 5"
).split()


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


def test_the_example_is_short():
    lines = [line for path in EXAMPLE.rglob("*.py") for line in path.read_text().splitlines()]
    assert 20 < len(lines) < 100


@pytest.mark.long
def test_an_installed_kind_of_data_trains_and_is_refused_like_ours(tmp_path, capsys):
    environment = installed(tmp_path / "site")
    rng = np.random.default_rng(0)
    time, phase = np.arange(64) / 10, rng.uniform(0, 6, (200, 1))
    np.savetxt(tmp_path / "series.txt", np.sin(time + phase))
    missing, out = ["pretrain", "--modality", "signals", "none.txt", "--out", str(tmp_path / "no")], tmp_path / "run"
    train = ["pretrain", "--modality", "signals", str(tmp_path / "series.txt"), "--out", str(out), *FLAGS]
    np.savetxt(tmp_path / "labels.csv", phase < 3, fmt="%d", header="label", comments="")
    options = {"file": str(tmp_path / "series.txt"), "labels": str(tmp_path / "labels.csv")}
    suite = {"name": "waves", "modality": "signals", "tasks": {"phase": {"classes": ["0", "1"], "options": options}}}
    (tmp_path / "suite.yaml").write_text(json.dumps(suite))
    embed = ["embed", str(out), str(tmp_path / "series.txt"), "--out", str(tmp_path / "x.npy")]
    probe = ["benchmark", "run", str(tmp_path), "--model", str(out), "--seeds", "1", "--out", str(tmp_path / "probed")]
    code = (
        "from dnar2mae.cli import main\n"
        f"assert main({train}) == 0\nassert main({embed}) == 0\nassert main({probe}) == 0\nassert main({missing}) == 2"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert summary["held_out"] < 0.8 * summary["yardstick"]["mean series"]
    assert summary["unit"] in done.stdout
    assert np.load(tmp_path / "x.npy").shape == (200, 16)
    assert (pd.read_csv(tmp_path / "probed" / "summary.csv")["score"] > 0.6).all()
    assert "dnar2mae: none.txt: cannot be read in stretches of 8" in done.stderr
    assert main(missing) == 2  # in this process nothing is installed
    assert "--modality must be one of" in capsys.readouterr().err
