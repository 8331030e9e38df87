"""Results on disk: one JSON line a finished cell, one CSV file of predictions each; tables from them."""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dnar2mae.errors import RunError
from dnar2mae.storage.safe_files import written_whole

_KEY = ("suite", "task", "model", "method", "seed", "protocol", "both_strands")
_DIGESTS = ("data_digest", "model_digest", "settings", "rate_of")
_GROUP = tuple(name for name in _KEY if name != "seed")
_DONE = "done"
_REPLACED = "replaced"
"""Status of a finished cell that a later call has put aside."""


@dataclass(frozen=True, slots=True)
class Store:
    """A results folder: ``results.jsonl`` and ``predictions/``."""

    folder: Path

    @property
    def file(self) -> Path:
        """Return the path of ``results.jsonl``."""
        return self.folder / "results.jsonl"

    def rows(self) -> list[dict[str, Any]]:
        """Return finished and failed cells, the last of each, without those that were put aside.

        Raises
        ------
        RunError
            The file is no results file.
        """
        last = {tuple(row[name] for name in _KEY): row for row in self.all_rows()}
        return [row for row in last.values() if row["status"] in (_DONE, "failed")]

    def all_rows(self) -> list[dict[str, Any]]:
        """Return what is stored of each cell, on each data, weights and settings; a line cut short is left out.

        Raises
        ------
        RunError
            The file is no results file.
        """
        if not self.file.exists():
            return []
        latest: dict[str, dict[str, Any]] = {}
        lines = self.file.read_text().splitlines()
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                key = json.dumps([row[name] for name in _KEY]) + _identity(row)
                latest.pop(key, None)  # the latest come last
                latest[key] = row
            except (ValueError, KeyError, TypeError) as error:
                if number < len(lines):  # only the last line can have been cut short
                    raise RunError(f"{self.file}:{number}: not a result: {error}") from error
        return list(latest.values())

    def put_aside(self, cells: Sequence[Mapping[str, Any]]) -> None:
        """Put aside what is stored of these models on these tasks and is none of these cells.

        That is other seeds, runs and settings of the same model and method, and what is of other weights by the same
        name, by any method: else a mean, or a difference to a control, would be over an earlier call as well. Nothing
        is deleted: a later call that asks for such a cell takes it up again.
        """
        groups = {tuple(cell[name] for name in _GROUP) for cell in cells}
        wanted = {_identity(cell) for cell in cells}
        weights: dict[tuple[str, ...], set[str]] = {}
        for cell in cells:
            weights.setdefault(_owner(cell), set()).add(cell["model_digest"])
        for row in self.rows():
            asked = _identity(row) in wanted
            other = row.get("recipe") and row["model_digest"] not in weights.get(_owner(row), {row["model_digest"]})
            if other or (tuple(row[name] for name in _GROUP) in groups and not asked):
                self.append({**row, "status": _REPLACED if row["status"] == _DONE else "dropped"})

    def take_up(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Make cells that were finished before those of the present call."""
        known = {json.dumps(row, sort_keys=True) for row in self.rows()}
        for row in rows:
            if json.dumps(row, sort_keys=True) not in known:
                self.append(row)

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a cell, on disk before this returns."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.file.open("ab+") as file:
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)  # what an interruption has cut short
            file.write(json.dumps(row).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def write_predictions(
        self, cell: Mapping[str, Any], labels: np.ndarray, probabilities: np.ndarray, is_duplicate: np.ndarray
    ) -> str:
        """Write the test rows' label, prediction and probabilities; return the path below the folder."""
        name = "--".join(_slug(str(cell[key])) for key in ("model", "method", "protocol", "seed"))
        name += "--both-strands" if cell["both_strands"] else ""
        digest = hashlib.sha256(_identity(cell).encode()).hexdigest()[:8]  # no other cell's file is written over
        path = Path("predictions", *_slug(cell["suite"]).split("/"), *map(_slug, cell["task"].split("/")))
        path = path / f"{name}--{digest}.csv"
        columns = {"label": labels, "predicted": probabilities.argmax(1), "duplicate": is_duplicate.astype(int)}
        columns |= {f"p{c}": probabilities[:, c] for c in range(probabilities.shape[1])}
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(target) as partial:
            pd.DataFrame(columns).to_csv(partial, index_label="row", float_format="%.6g")
        return str(path)

    def read_predictions(self, row: Mapping[str, Any]) -> pd.DataFrame:
        """Read a cell's predictions.

        Raises
        ------
        RunError
            The file is missing or damaged.
        """
        path = self.folder / row["predictions"]
        try:
            return pd.read_csv(path, index_col="row")
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: cannot be read ({error}); remove its line from {self.file}") from error


def finished(rows: Sequence[dict[str, Any]], cell: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the finished row of a cell on the same data, weights and settings; None where there is none."""
    for row in rows:
        if row["status"] in (_DONE, _REPLACED) and "predictions" in row and _identity(row) == _identity(cell):
            return {**row, **cell, "status": _DONE}
    return None


def _owner(cell: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the task, and the name of the model that a cell is of, or is a control of."""
    return cell["suite"], cell["task"], cell.get("recipe", "")


def _identity(cell: Mapping[str, Any]) -> str:
    return json.dumps([cell.get(name) for name in (*_KEY, *_DIGESTS)], sort_keys=True)


def flat(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row a cell, scores and settings in columns of their own."""
    table = []
    for row in rows:
        simple = {k: v for k, v in row.items() if not isinstance(v, dict | list)}
        for name in ("scores", "filtered", "chosen", "duplicates"):
            simple |= {f"{name}.{k}" if name != "scores" else k: v for k, v in row.get(name, {}).items()}
        simple |= {name: "; ".join(row.get(name, [])) for name in ("flags", "notes")}
        table.append(simple)
    return pd.DataFrame(table)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "x"
