"""Results of training steps, left on the device until the loop reads several at once."""

import time
from pathlib import Path
from typing import Any

from torch import Tensor

from dnar2mae.config import PretrainConfig
from dnar2mae.errors import RunError
from dnar2mae.modalities.contract import Modality
from dnar2mae.run.checkpoint import last_good


class Readings:
    """A buffer of step results, which become rows of metrics.

    Parameters
    ----------
    config
        ``batch_size`` and ``max_skipped`` are used.
    modality
        The name of its unit and the tokens of a sample are used.
    run
        Run directory, for messages.
    """

    def __init__(self, config: PretrainConfig, modality: Modality, run: Path) -> None:
        self._run, self._max_skipped = run, config.max_skipped
        self._tokens = config.batch_size * modality.layout.tokens
        self._unit_key = modality.unit.replace(" ", "_")
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
        rows = [{**self._row(result), "tokens_per_s": rate} for result in self._pending]
        self._pending.clear()
        return rows

    def _row(self, result: dict[str, Any]) -> dict[str, Any]:
        row = {name: value.item() if isinstance(value, Tensor) else value for name, value in result.items()}
        if row["skipped"] >= self._max_skipped:
            raise RunError(
                f"step {row['step']}: {row['skipped']:.0f} steps in a row were skipped, the loss is {row['loss']} "
                f"and the gradient norm {row['grad_norm']}; {last_good(self._run)}. A lower --optimizer.lr may help"
            )
        row = {self._unit_key if name == "unit_loss" else name: value for name, value in row.items()}
        if not row["skipped"]:
            del row["skipped"]
        return row
