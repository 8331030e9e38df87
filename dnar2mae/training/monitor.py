"""What a run tells while it goes on: a progress bar, its metrics and, on request, TensorBoard."""

import math
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
from dnar2mae.run.metrics import MetricsLog

_SECONDS_BETWEEN_LINES = 15.0


class Monitor:
    """Shows and records metrics; a context manager.

    On a terminal a progress bar is drawn on stderr; elsewhere a plain line is printed every 15 seconds.

    Parameters
    ----------
    run
        Run directory, which gets the metrics; None shows and records nothing.
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
        self, run: Path | None, *, total_steps: int, first_step: int = 0, tensorboard: Path | None = None
    ) -> None:
        self._console = Console(file=sys.stderr, quiet=run is None)
        self._progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal or run is None,
        )
        self._task = self._progress.add_task("", total=total_steps, completed=first_step)
        self._total, self._first, self._start = total_steps, first_step, time.monotonic()
        self._next_line = self._start
        self._validation = ""
        self._board = _open_tensorboard(tensorboard) if tensorboard and run else None
        self._log = MetricsLog(run) if run else None

    def __enter__(self) -> "Monitor":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        if self._log:
            self._log.close()
        if self._board:
            self._board.close()

    def train(self, rows: list[dict[str, Any]]) -> None:
        """Record training steps and show the last one."""
        self._record("train", rows)
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
        self._record("validation", [row])
        self._validation = f"held-out {row['held_out']:.4f}"

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, highlight=False, soft_wrap=True)

    def _record(self, event: str, rows: list[dict[str, Any]]) -> None:
        if self._log:
            self._log.append(event, rows)
        if self._board:
            for row in rows:
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
