"""Losses of a fine-tuning by step."""

from pathlib import Path

import pandas as pd

from dnar2mae.plots.figure import new_figure
from dnar2mae.run.metrics import read_metrics
from dnar2mae.storage.safe_files import written_whole

_SMOOTHED = 25  # training losses in a trailing mean


def plot_losses(run: Path, path: Path) -> None:
    """Draw the loss on train and dev, and the score on dev, by step."""
    rows = read_metrics(run)
    train = [(row["step"], row["loss"]) for row in rows if row["event"] == "train" and row["loss"] is not None]
    dev = pd.DataFrame([row for row in rows if row["event"] == "validation"])
    figure = new_figure(9.0, 3.8)
    left, right = figure.subplots(1, 2)
    steps, losses = zip(*train, strict=True)
    smooth = pd.Series(losses).rolling(_SMOOTHED, min_periods=1).mean()
    left.plot(steps, smooth, color="0.6", lw=1, label="train")
    left.plot(dev["step"], dev["loss"], color="C0", marker="o", ms=3, label="dev")
    left.set(xlabel="step", ylabel="loss", title="Loss")
    left.legend(fontsize=8, frameon=False)
    name = next(column for column in dev.columns if column not in ("event", "step", "held_out", "loss"))
    right.plot(dev["step"], dev[name], color="C0", marker="o", ms=3)
    right.set(xlabel="step", ylabel=name, title="Score on dev")
    with written_whole(path) as partial:
        figure.savefig(partial)
