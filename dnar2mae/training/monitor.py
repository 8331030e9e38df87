"""Reporting during a run: readings of the steps, a progress bar, metrics and, on request, TensorBoard."""

import math
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from dnar2mae.errors import RunError, needing
from dnar2mae.run.checkpoint import last_good
from dnar2mae.run.metrics import MetricsLog
from dnar2mae.storage.progress import ProgressBar


class Monitor:
    """A context manager that shows and records metrics.

    On a terminal a progress bar is drawn on stderr; elsewhere a plain line is printed every half minute, and one at the
    last step. The time left includes the validations that are still to come.

    Parameters
    ----------
    run
        Run directory, where metrics are written; None shows and records nothing.
    total_steps, first_step
        Length of the run and where it starts (0, or where it resumes).
    tensorboard
        Folder for TensorBoard event files; by default none are written.
    validate_every
        Steps between validations; by default there are none.
    final_validations
        How many validations as during the run the one after the last step takes as long as.

    Raises
    ------
    ConfigError
        If TensorBoard is requested but not installed.
    """

    def __init__(
        self,
        run: Path | None,
        *,
        total_steps: int,
        first_step: int = 0,
        tensorboard: Path | None = None,
        validate_every: int | None = None,
        final_validations: float = 0.0,
    ) -> None:
        self._bar = ProgressBar("step", total_steps, first_step, show=run is not None)
        self._total, self._every, self._final = total_steps, validate_every or total_steps, final_validations
        self._validation, self._validation_s = "", 0.0
        self._board = _open_tensorboard(tensorboard) if tensorboard and run else None
        self._log = MetricsLog(run) if run else None

    def __enter__(self) -> "Monitor":
        self._bar.start()
        self._bar.tick()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        if self._log:
            self._log.close()
        if self._board:
            self._board.close()

    def train(self, rows: list[dict[str, Any]]) -> None:
        """Record training steps and show the last one."""
        self._record("train", rows)
        row = rows[-1]
        step = int(row["step"])
        numbers = {name: value for name, value in row.items() if name != "step" and not isinstance(value, bool)}
        text = "  ".join(f"{name} {_number(value)}" for name, value in numbers.items() if math.isfinite(value))
        text += f"  {self._validation}" if self._validation else ""
        # the one at the last step is due whether or not it is a multiple, and so is one at a step that has just ended
        to_come = -(-self._total // self._every) - (step - 1) // self._every
        self._bar.after_s = (to_come + self._final) * self._validation_s
        if step == self._total:
            self._bar.line_next()
        self._bar(step, title=f"step  {text}")

    def validation(self, row: dict[str, Any], seconds: float) -> None:
        """Record a validation, and how long it took."""
        self._record("validation", [row])
        bound = f"  bound {row['bound']:.4f}" if "bound" in row else ""
        self._validation, self._validation_s = f"held-out {row['held_out']:.4f}{bound}", seconds
        self._bar.pause(seconds)

    def begin(self, title: str, total: int) -> None:
        """Show another part of the work, of so many units; see :meth:`advance`."""
        self._bar.after_s = 0.0
        self._bar.begin(title, total)

    def advance(self) -> None:
        """Show that one more unit is done."""
        self._bar.advance()

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.say(text)

    def _record(self, event: str, rows: list[dict[str, Any]]) -> None:
        if self._log:
            self._log.append(event, rows)
        if self._board:
            for row in rows:
                for name, value in row.items():
                    if name != "step" and isinstance(value, float):
                        self._board.add_scalar(f"{event}/{name}", value, row["step"])


def _number(value: float) -> str:
    """Return a number with four digits, or more before the point; a small one in scientific notation."""
    if value and abs(value) < 1e-2:
        return f"{value:.1e}"
    digits = 0 if abs(value) >= 1000 else 4 - min(math.floor(math.log10(abs(value))) + 1, 3) if value >= 1 else 3
    return f"{value:,.{digits}f}"


def _open_tensorboard(folder: Path) -> Any:
    with needing("--tensorboard", "tensorboard", "dnar2mae[tensorboard]"):
        from torch.utils.tensorboard import SummaryWriter
    return SummaryWriter(folder)


class Readings:
    """A buffer of step results, which become rows of metrics.

    Parameters
    ----------
    tokens
        Tokens of a step; 0 where nobody asks how many there are in a second.
    unit
        Name of a step's ``unit_loss`` in the metrics.
    max_skipped
        How many steps in a row may be skipped.
    run
        Run directory, for messages, if there is one.
    rate
        Flag of the learning rate, for messages.
    """

    def __init__(
        self, tokens: int, unit: str, max_skipped: float, run: Path | None, rate: str = "--optimizer.lr"
    ) -> None:
        self._tokens, self._unit_key, self._max_skipped = tokens, unit, max_skipped
        self._run, self._rate = run, rate
        self._pending: list[dict[str, Any]] = []
        self._since = 0.0

    def start_clock(self) -> None:
        """Start the clock of ``tokens_per_s``."""
        self._since = time.monotonic()

    def add(self, result: dict[str, Any]) -> None:
        """Keep the result of a step as :class:`dnar2mae.training.step.TrainingStep` returns it."""
        self._pending.append(result)

    def take(self) -> list[dict[str, Any]]:
        """Return the rows of all steps added since the last call, after waiting for the device.

        Raises
        ------
        RunError
            If ``max_skipped`` steps in a row were skipped.
        """
        now = time.monotonic()
        rate = self._tokens * len(self._pending) / max(now - self._since, 1e-9)
        self._since = now
        speed = {"tokens_per_s": rate} if self._tokens else {}
        rows = [{**self._row(result), **speed} for result in self._pending]
        self._pending.clear()
        return rows

    def _row(self, result: dict[str, Any]) -> dict[str, Any]:
        row = {name: value.item() if isinstance(value, Tensor) else value for name, value in result.items()}
        if row["skipped"] >= self._max_skipped:
            good = f"; {last_good(self._run)}" if self._run else ""
            raise RunError(
                f"step {row['step']}: {row['skipped']:.0f} steps in a row were skipped, the loss is {row['loss']} "
                f"and the gradient norm {row['grad_norm']}{good}. A lower {self._rate} may help"
            )
        row = {self._unit_key if name == "unit_loss" else name: value for name, value in row.items()}
        if not row["skipped"]:
            del row["skipped"]
        return row
