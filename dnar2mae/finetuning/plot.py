"""Losses of a fine-tuning by step."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dnar2mae.plots.figure import new_figure
from dnar2mae.run.metrics import read_metrics
from dnar2mae.storage.safe_files import written_whole

_SMOOTHED = 25  # training losses in a trailing mean
Metrics = Sequence[Mapping[str, Any]]


def plot_losses(run: Path, path: Path, best: int) -> None:
    """Draw the loss on train and dev, and the score on dev, by step, and which step is the best."""
    rows = read_metrics(run)
    figure = new_figure(9.0, 3.8)
    left, right = figure.subplots(1, 2)
    draw_losses(left, rows, best)
    draw_score(right, rows, best)
    left.set(title="Loss")
    right.set(title="Score on dev")
    with written_whole(path) as partial:
        figure.savefig(partial)


def draw_losses(axes: Any, rows: Metrics, best: int | None) -> None:
    """Draw the loss on train and dev by step; ``best`` is the step whose weights are kept, if there is one yet."""
    train = [(row["step"], row["loss"]) for row in rows if row["event"] == "train" and row["loss"] is not None]
    if train:
        steps, losses = zip(*train, strict=True)
        smooth = pd.Series(losses).rolling(_SMOOTHED, min_periods=1).mean()
        axes.plot(steps, smooth, color="0.6", lw=1, label="train")
    _draw_dev(axes, rows, "loss", best)
    axes.set(xlabel="step", ylabel="loss")


def draw_score(axes: Any, rows: Metrics, best: int | None) -> None:
    """Draw the main score on dev by step."""
    name = score_on_dev(rows)
    _draw_dev(axes, rows, name, best)
    axes.set(xlabel="step", ylabel=name)


def score_on_dev(rows: Metrics) -> str:
    """Return the name of the main score."""
    validation = next(row for row in rows if row["event"] == "validation")
    return next(name for name in validation if name not in ("event", "step", "held_out", "loss"))


def _draw_dev(axes: Any, rows: Metrics, name: str, best: int | None) -> None:
    dev = pd.DataFrame([row for row in rows if row["event"] == "validation"]).astype({name: float})
    axes.plot(dev["step"], dev[name], color="C0", marker="o", ms=3, label="dev")
    if best is not None:
        axes.axvline(best, color="C1", lw=1, ls="--", label=f"best: step {best:,}")
    axes.legend(fontsize=8, frameon=False)
