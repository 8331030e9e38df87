"""Probabilities that mean what they say: a temperature chosen on dev, and how often predictions come true."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dnar2mae.finetuning.problem import Rows
from dnar2mae.finetuning.targets import Classes, Target
from dnar2mae.plots.figure import new_figure
from dnar2mae.storage.safe_files import written_whole

_BINS = 10
_LOG_RANGE = (np.log(0.05), np.log(20.0))  # temperatures beyond mean that the model knows nothing, or all


def calibrated(target: Target, dev: Rows) -> Target:
    """Return the target with the temperature under which the dev rows are most probable."""
    from scipy.optimize import minimize_scalar

    if not target.is_probability:
        return target
    best = minimize_scalar(
        lambda log: cross_entropy(target.at(float(np.exp(log))), dev), bounds=_LOG_RANGE, method="bounded"
    )
    return target.at(float(np.exp(best.x)))


def cross_entropy(target: Target, rows: Rows) -> float:
    """Return the mean cross-entropy of predictions in nats, without class weights."""
    probabilities, happened = _pairs(target, rows)
    is_class = isinstance(target, Classes)
    chosen = probabilities[happened] if is_class else np.where(happened, probabilities, 1 - probabilities)
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())


def calibration(target: Target, rows: Rows) -> dict[str, Any]:
    """Return the temperature; with it and without, how far probabilities are off on average, and the curve of that.

    Each point of a curve is a tenth of the range of probabilities: mean prediction, observed share, number.
    """
    found: dict[str, Any] = {"temperature": target.temperature}
    for of, when in ((target, ""), (target.at(1.0), "_before")):
        curve = reliability(of, rows)
        predicted, observed, counts = curve.T
        found[f"error{when}"] = float((counts * np.abs(predicted - observed)).sum() / counts.sum())
        found[f"curve{when}"] = curve.tolist()
    return found


def reliability(target: Target, rows: Rows) -> Float[np.ndarray, "T 3"]:
    """Return for each tenth of predicted probability that occurs the mean prediction, observed share and number."""
    probabilities, happened = (part.ravel() for part in _pairs(target, rows))
    bins = np.minimum((probabilities * _BINS).astype(np.int64), _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    used = np.flatnonzero(counts)
    sums = [np.bincount(bins, weights, minlength=_BINS)[used] for weights in (probabilities, happened)]
    return np.stack([sums[0] / counts[used], sums[1] / counts[used], counts[used]], axis=1)


def draw_calibration(axes: Any, found: Mapping[str, Any]) -> None:
    """Draw the share of rows in which a class or label is true, by its predicted probability."""
    for when, label in (("_before", "as trained"), ("", f"temperature {found['temperature']:.2f}")):
        predicted, observed, _ = np.array(found[f"curve{when}"]).T
        axes.plot(predicted, observed, marker="o", ms=4, lw=1, label=f"{label}: off by {found[f'error{when}']:.3f}")
    axes.plot([0, 1], [0, 1], color="0.6", lw=1, ls="--")
    axes.set(xlabel="predicted probability", ylabel="share that is true")
    axes.legend(fontsize=8, frameon=False)


def plot_calibration(found: Mapping[str, Any], path: Path) -> None:
    """Write the drawing of :func:`draw_calibration`."""
    figure = new_figure(4.5, 4.5)
    axes = figure.subplots()
    draw_calibration(axes, found)
    axes.set(title="Reliability on test")
    with written_whole(path) as partial:
        figure.savefig(partial)


def _pairs(target: Target, rows: Rows) -> tuple[Float[np.ndarray, "M P"], np.ndarray]:
    """Return probabilities, and whether what they are of is true."""
    probabilities = rows.predicted(target)
    if isinstance(target, Classes):
        return probabilities, rows.wanted.astype(np.int64) == np.arange(probabilities.shape[1])
    return probabilities, rows.wanted == 1
