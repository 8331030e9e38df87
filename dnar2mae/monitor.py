"""What a run tells while it goes on: a progress bar, ``metrics.jsonl`` and, on request, TensorBoard."""

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from dnar2mae.errors import ConfigError

_SECONDS_BETWEEN_LINES = 15.0


class Monitor:
    """Shows and records metrics; a context manager.

    On a terminal a progress bar is drawn on stderr; elsewhere a plain line is printed every 15 seconds.

    Parameters
    ----------
    metrics_file
        JSON lines to append to; None shows and records nothing.
    total_steps, first_step
        Length of the run and where it starts (0, or where it resumes).
    tensorboard
        Folder for TensorBoard event files; by default none are written.

    Raises
    ------
    ConfigError
        If TensorBoard is asked for but not installed.
    """

    def __init__(
        self, metrics_file: Path | None, *, total_steps: int, first_step: int = 0, tensorboard: Path | None = None
    ) -> None:
        self._console = Console(file=sys.stderr, quiet=metrics_file is None)
        self._progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal or metrics_file is None,
        )
        self._task = self._progress.add_task("", total=total_steps, completed=first_step)
        self._total, self._first, self._start = total_steps, first_step, time.monotonic()
        self._next_line = self._start
        self._validation = ""
        self._board = _open_tensorboard(tensorboard) if tensorboard and metrics_file else None
        self._file = open(metrics_file or os.devnull, "a")

    def __enter__(self) -> "Monitor":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        self._file.close()
        if self._board:
            self._board.close()

    def train(self, rows: list[dict[str, float]]) -> None:
        """Record training steps and show the last one."""
        for row in rows:
            self._record("train", row)
        self._file.flush()
        row = rows[-1]
        step = int(row["step"])
        text = "  ".join(f"{name} {_number(value)}" for name, value in row.items() if name != "step")
        text += f"  {self._validation}" if self._validation else ""
        self._progress.update(self._task, completed=step, description=text)
        now = time.monotonic()
        if not self._console.is_terminal and (now >= self._next_line or step == self._total):
            self._next_line = now + _SECONDS_BETWEEN_LINES
            left = (now - self._start) / max(step - self._first, 1) * (self._total - step)
            self._console.print(
                f"step {step}/{self._total}  {text}  left {left:.0f} s", highlight=False, soft_wrap=True
            )

    def validation(self, row: dict[str, Any]) -> None:
        """Record a validation."""
        self._record("validation", row)
        self._file.flush()
        self._validation = f"held-out {row['held_out']:.4f}"

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, highlight=False, soft_wrap=True)

    def _record(self, event: str, row: dict[str, Any]) -> None:
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        self._file.write(json.dumps({"event": event, **finite}) + "\n")
        if self._board:
            for name, value in row.items():
                if name != "step" and isinstance(value, float):
                    self._board.add_scalar(f"{event}/{name}", value, row["step"])


def _number(value: float) -> str:
    if value and abs(value) < 1e-2:
        return f"{value:.1e}"
    digits = 0 if abs(value) >= 1000 else 4 - min(math.floor(math.log10(abs(value))) + 1, 3) if value >= 1 else 3
    return f"{value:,.{digits}f}"


def _open_tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError("--tensorboard needs an extra: pip install 'dnar2mae[tensorboard]'") from error
    return SummaryWriter(folder)
