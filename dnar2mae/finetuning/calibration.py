"""Probabilities that mean what they say: a temperature chosen on dev, and how often predictions come true."""

from pathlib import Path

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


def calibration_error(target: Target, rows: Rows) -> float:
    """Return the mean difference of predicted probability and observed share, over ten bins of probability."""
    _, predicted, observed, counts = reliability(target, rows)
    return float((counts * np.abs(predicted - observed)).sum() / counts.sum())


def reliability(target: Target, rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return bins of predicted probability that are not empty: number, mean prediction, observed share, count."""
    probabilities, happened = (part.ravel() for part in _pairs(target, rows))
    bins = np.minimum((probabilities * _BINS).astype(np.int64), _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    used = np.flatnonzero(counts)
    sums = [np.bincount(bins, weights, minlength=_BINS)[used] for weights in (probabilities, happened)]
    return used, sums[0] / counts[used], sums[1] / counts[used], counts[used]


def plot_calibration(target: Target, rows: Rows, path: Path) -> None:
    """Draw the share of test rows in which a class or label is true, by its predicted probability."""
    figure = new_figure(4.5, 4.5)
    axes = figure.subplots()
    for of, label in ((target.at(1.0), "as trained"), (target, f"temperature {target.temperature:.2f}")):
        _, predicted, observed, _ = reliability(of, rows)
        error = calibration_error(of, rows)
        axes.plot(predicted, observed, marker="o", ms=4, lw=1, label=f"{label}: off by {error:.3f} on average")
    axes.plot([0, 1], [0, 1], color="0.6", lw=1, ls="--")
    axes.set(xlabel="predicted probability", ylabel="share that is true", title="Reliability on test")
    axes.legend(fontsize=8, frameon=False)
    with written_whole(path) as partial:
        figure.savefig(partial)


def _pairs(target: Target, rows: Rows) -> tuple[Float[np.ndarray, "M P"], np.ndarray]:
    """Return probabilities, and whether what they are of is true."""
    probabilities = rows.predicted(target)
    if isinstance(target, Classes):
        return probabilities, rows.wanted.astype(np.int64) == np.arange(probabilities.shape[1])
    return probabilities, rows.wanted == 1
