"""``metrics.jsonl``: a JSON row for every training step and validation, in files of bounded size.

A file that has grown large is renamed ``metrics-STEP.jsonl``, after its last step, and a new one is begun.
:func:`read_metrics` reads them all.
"""

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dnar2mae.storage.safe_files import write_whole

NAME = "metrics.jsonl"
_LIMIT = 64 << 20  # bytes of a file, about 250,000 steps


class MetricsLog:
    """The open metrics file of a run."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._file = (run / NAME).open("a", encoding="utf-8")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def append(self, event: str, rows: Iterable[dict[str, Any]]) -> None:
        """Write rows, each with a ``step``; numbers that are not finite, which JSON lacks, become null."""
        step = 0
        for row in rows:
            step = row["step"]
            finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
            self._file.write(json.dumps({"event": event, **finite}) + "\n")
        self._file.flush()
        if self._file.tell() >= _LIMIT:
            self._file.close()
            (self._run / NAME).rename(self._run / f"metrics-{step:08d}.jsonl")
            self._file = (self._run / NAME).open("a", encoding="utf-8")


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Read all rows of a run, in the order of its steps.

    Raises
    ------
    OSError, ValueError
        If the run has no metrics, or they are not JSON rows.
    """
    parts = _parts(run)
    if not parts:
        raise FileNotFoundError(f"{run / NAME}: no such file")
    return [json.loads(line) for part in parts for line in part.read_text(encoding="utf-8").splitlines()]


def clipped_shares(run: Path) -> dict[str, float]:
    """Return the share of a run's training steps whose gradient was clipped, of all and by tenths of the mask ratio."""
    clipped: dict[str, list[bool]] = {}
    for row in read_metrics(run):
        if "clipped" in row:
            tenth = int(row["ratio"] * 10)
            for band in ("all", f"{tenth / 10:.1f} to {(tenth + 1) / 10:.1f}"):
                clipped.setdefault(band, []).append(row["clipped"])
    return {band: sum(steps) / len(steps) for band, steps in sorted(clipped.items())}


def rewind_metrics(run: Path, step: int, *, validated: bool) -> None:
    """Drop the rows of steps that a resumed run will do again, and lines that were cut.

    ``step`` is that of the checkpoint that the run goes on from; -1 drops all. ``validated`` tells whether that
    checkpoint has the validation of its step, if there was one.
    """
    parts = [part for part in _parts(run) if part.name == NAME or int(part.stem.partition("-")[2]) >= step]
    kept = {  # keyed, since a process killed below leaves rows in two files
        (event, at): line
        for part in parts
        for event, at, line in _rows(part)
        if at < step or (at == step and (validated or event == "train"))
    }
    if parts:
        write_whole(run / NAME, "".join(line + "\n" for line in kept.values()))
    for part in parts:
        if part.name != NAME:
            part.unlink()


def _parts(run: Path) -> list[Path]:
    """Return the files of the metrics, oldest first."""
    newest = run / NAME
    return [*sorted(run.glob("metrics-????????.jsonl")), *([newest] if newest.exists() else [])]


def _rows(part: Path) -> Iterator[tuple[str, int, str]]:
    """Yield event, step and text of each complete line."""
    for line in part.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
            yield row["event"], int(row["step"]), line
        except (ValueError, KeyError, TypeError):
            continue
