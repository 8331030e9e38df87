"""Losses of one run, and of several side by side."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dnar2mae.errors import RunError, raising
from dnar2mae.plots.figure import new_figure, save_figure
from dnar2mae.run.metrics import read_metrics
from dnar2mae.storage.safe_files import written_whole

_SMOOTHED = 25  # training losses in a trailing mean
_STYLES = ("--", ":")  # one for the best trivial model of each family


def plot_run(run: Path, summary: dict[str, Any], path: Path) -> None:
    """Draw training and held-out loss by step, and the held-out loss by mask ratio, of a run with this summary."""
    figure = new_figure(10.0, 4.0)
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    draw_losses(left, read_metrics(run), summary)
    draw_curve(right, summary)
    left.set(title="Loss")
    right.set(title="Held-out loss by mask ratio")
    with written_whole(path) as partial:
        figure.savefig(partial)


def draw_losses(axes: Any, rows: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    """Draw training and held-out loss by step; ``rows`` are the run's metrics. Its summary may lack yardsticks."""
    unit = summary["unit"].replace(" ", "_")
    train = [(r["step"], r[unit]) for r in rows if r["event"] == "train" and r[unit] is not None]
    held_out = [(r["step"], r["held_out"]) for r in rows if r["event"] == "validation"]
    bounds = [(r["step"], r["bound"]) for r in rows if r.get("bound") is not None]
    if train:
        steps, losses = zip(*train, strict=True)
        smooth = pd.Series(losses).rolling(_SMOOTHED, min_periods=1).mean()
        axes.plot(steps, smooth, color="0.6", lw=1, label="training (under the run's mask law)")
    if held_out:
        axes.plot(*zip(*held_out, strict=True), color="C0", marker="o", ms=3, label="held out, mask ratio 0.15")
    if bounds:
        axes.plot(*zip(*bounds, strict=True), color="C0", ls="-.", marker=".", ms=3, lw=1, label="held out, bound")
    for name, style in zip(summary["margin"], _STYLES, strict=False):
        value = summary["yardstick"][name]
        axes.axhline(value, color="C3", lw=1, ls=style, label=f"{name}: {value:.3f}")
    axes.set(xlabel="step", ylabel=summary["unit"])
    axes.legend(fontsize=8, frameon=False)


def draw_curve(axes: Any, summary: dict[str, Any]) -> None:
    """Draw the held-out loss by mask ratio, with the bound and the best trivial models where the summary has them."""
    axes.plot(*_whole_curve(summary), color="C0", marker="o", ms=4, label="this model")
    if curve := summary.get("copies", {}).get("curve"):
        axes.plot([float(r) for r in curve], list(curve.values()), color="C0", lw=1, ls="--", label="with copies")
    if value := summary.get("bound", {}).get("value"):
        axes.axhline(value, color="C0", lw=1, ls="-.", label=f"area below, a bound: {value:.3f}")
    for (name, curve), style in zip(summary["yardstick_curve"].items(), _STYLES, strict=False):
        axes.plot([float(r) for r in curve], list(curve.values()), color="C3", lw=1, ls=style, label=name)
    axes.legend(fontsize=8, frameon=False)
    axes.set(xlabel="mask ratio", ylabel=summary["unit"])


def plot_runs(runs: Sequence[Path], path: Path) -> None:
    """Draw the held-out loss of several runs by step, and by mask ratio, side by side.

    Held-out losses are computed under the same masks for every mask law, so that runs on the same data compare. A run
    that is not finished has no curve by mask ratio.

    Raises
    ------
    RunError
        If a folder is no run or has no validation yet, or the losses are in different units.
    """
    figure = new_figure(10.0, 4.0)
    left, right = figure.subplots(1, 2)
    units: set[str] = set()
    yardsticks: set[tuple[str, float]] = set()
    for number, run in enumerate(runs):
        held_out, summary = _losses(run)
        look = {"label": run.name, "color": f"C{number % 10}", "marker": "o", "ms": 3}
        left.plot(*zip(*held_out, strict=True), **look)
        if summary:
            units.add(summary["unit"])
            right.plot(*_whole_curve(summary), **look)
            for name, value in sorted(summary["yardstick"].items(), key=lambda item: item[1])[:1]:
                if (name, value) not in yardsticks:  # runs on the same data share it
                    left.axhline(value, color=look["color"], lw=1, ls="--", label=f"{name}: {value:.3f}")
                yardsticks.add((name, value))
    if len(units) > 1:
        raise RunError(f"the runs' losses are in different units: {', '.join(sorted(units))}")
    left.set(xlabel="step", ylabel="".join(units) or "held-out loss", title="Held-out loss, mask ratio 0.15")
    right.set(xlabel="mask ratio", ylabel="".join(units), title="Held-out loss of the last step by mask ratio")
    left.legend(fontsize=8, frameon=False)
    save_figure(figure, path)


def _whole_curve(summary: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Return mask ratios and losses, those of the bound too."""
    curve = summary["curve"] | summary.get("bound", {}).get("curve", {})
    return [float(ratio) for ratio in curve], list(curve.values())


def _losses(run: Path) -> tuple[list[tuple[int, float]], dict[str, Any]]:
    """Return the held-out loss by step, and the summary; empty where there is none."""
    with raising(RunError, f"{run}: not a run whose metrics can be read", OSError, ValueError, KeyError):
        held_out = [(row["step"], row["held_out"]) for row in read_metrics(run) if row["event"] == "validation"]
        file = run / "summary.json"
        summary = json.loads(file.read_text()) if file.is_file() else {}
    if not held_out:
        raise RunError(f"{run}: no validation loss yet")
    return held_out, summary
