"""Rows of measurements in CSV files, each on the disk as soon as it is known."""

import csv
import datetime
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dnar2mae.run.environment import environment


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Append a row to a CSV file, which is begun with a header if it is missing.

    Raises
    ------
    ValueError
        If the file has other columns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", newline="") as file:
        file.seek(0)
        header = next(csv.reader(file), None)
        if header not in (None, list(row)):
            raise ValueError(f"{path} must have the columns {', '.join(row)}, got {', '.join(header)}")
        writer = csv.DictWriter(file, list(row))
        if header is None:
            writer.writeheader()
        writer.writerow(row)


def stamp(commit: str = "") -> dict[str, str]:
    """Return the last columns of every row: device, torch, commit (by default that of this tree), date."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu x{torch.get_num_threads()}"
    today = datetime.date.today().isoformat()
    return {
        "device": name,
        "torch": torch.__version__,
        "commit": commit or _commit(),
        "date": today,
    }


def _commit() -> str:
    """Return this tree's commit; rows that were appended since do not make it another."""
    commit = environment()["commit"] or "unknown"
    changes = ["git", "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(exclude)results"]
    if commit.endswith("-dirty"):
        changed = subprocess.run(changes, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
        commit = commit if changed.stdout else commit.removesuffix("-dirty")
    return commit
