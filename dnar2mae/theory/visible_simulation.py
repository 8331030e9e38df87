"""Predictors that see the visible share or the mask, fitted to random samples."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from dnar2mae.errors import ConfigError
from dnar2mae.mask_laws import MaskLaw
from dnar2mae.theory.monte_carlo import square_root
from dnar2mae.theory.shapes import Matrix
from dnar2mae.theory.task import Task
from dnar2mae.theory.visible import ShareMoments, share_moments

Predictor = Literal["plain", "share", "bits"]
"""Inputs w; w and k w; w and z, with an intercept."""


class FittedPredictor(NamedTuple):
    """What is fitted, and how it is tested."""

    predictor: Predictor
    ridges: Sequence[float]
    """R penalties of ``loss / n + lambda |b|^2``."""
    tests: Sequence[MaskLaw]
    """T laws of the ratio at test time."""


# relative eigenvalue below which a direction of the inputs is empty and a fit of smallest norm leaves it out
_EMPTY = 1e-10


def simulate_every_mask(
    task: Task, laws: Sequence[MaskLaw], aspect: float, fit: FittedPredictor, seed: int
) -> Float[np.ndarray, "L R T"]:
    """Return the excess risk of fits to one random sample in the exact expectation over its masks.

    Laws and aspect ratio as in :func:`dnar2mae.theory.visible.share_equivalent`; features have variance 1.
    """
    predictor, ridges, tests = fit
    x, y = _sample(task, aspect, np.random.default_rng([seed, 0]))
    if predictor == "bits":  # with its bits and its intercept free, the fit is that of centred samples
        x, y = x - x.mean(0), y - y.mean(0)
    sees = predictor == "share"
    trained, tested = (share_moments(some, task.num_features, sees) for some in (laws, tests))
    gram, cross = x.T @ x / len(x), x.T @ y / len(x)
    out = np.empty((len(laws), len(ridges), len(tests)))
    for i in range(len(laws)):
        matrix = np.kron(trained.pairs[i], gram) + np.kron(trained.own[i], np.diag(np.diag(gram)))
        for r, ridge in enumerate(ridges):
            b = np.linalg.solve(matrix + ridge * np.eye(len(matrix)), np.kron(trained.first[i][:, None], cross))
            out[i, r] = _test_errors(task, b, tested)
    return out


def simulate_few_masks(
    task: Task, laws: Sequence[MaskLaw], aspect: float, fit: FittedPredictor, seed: int, *, num_masks: int
) -> Float[np.ndarray, "L R T"]:
    """Return the excess risk of fits to one random sample, each of its rows seen under ``num_masks`` masks.

    Arguments as in :func:`simulate_every_mask`; the plain predictor and the one that sees the share only.

    Raises
    ------
    ConfigError
        If the predictor sees mask bits.
    """
    predictor, ridges, tests = fit
    if predictor == "bits":
        raise ConfigError("few masks are simulated for the predictors plain and share")
    sees = predictor == "share"
    tested = share_moments(tests, task.num_features, sees)
    x, y = _sample(task, aspect, np.random.default_rng([seed, 0]))
    rows, targets = np.repeat(x, num_masks, axis=0), np.repeat(y, num_masks, axis=0)
    out = np.empty((len(laws), len(ridges), len(tests)))
    for i, law in enumerate(laws):
        rng = np.random.default_rng([seed, 1 + i])
        visible = rng.random(rows.shape) >= law.sample(len(rows), rng)[:, None]
        inputs = rows * visible
        if sees:
            inputs = np.hstack([inputs, visible.mean(1, keepdims=True) * inputs])
        values, vectors = np.linalg.eigh(inputs.T @ inputs / len(inputs))
        image = vectors.T @ (inputs.T @ targets / len(inputs))
        kept = values > _EMPTY * values[-1]
        for r, ridge in enumerate(ridges):
            gain = np.where(kept, 1 / np.where(kept, values + ridge, 1.0), 0.0)
            out[i, r] = _test_errors(task, vectors @ (gain[:, None] * image), tested)
    return out


def _sample(
    task: Task, aspect: float, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n K"]]:
    """Return inputs and noisy targets."""
    if task.covariance is None or task.target is None:
        raise ConfigError("a simulation needs the covariance and the target, not only a spectrum")
    shape = max(2, round(task.num_features / aspect)), task.num_features
    x = rng.standard_normal(shape) @ square_root(task.covariance)
    noise = rng.standard_normal((len(x), task.target.shape[1]))
    return x, x @ task.target + np.sqrt(task.noise) * noise


def _test_errors(task: Task, b: Float[np.ndarray, "N K"], tested: ShareMoments) -> Float[np.ndarray, " T"]:
    """Return E (prediction - x'beta)^2 of stacked coefficients, exact given them."""
    covariance: Matrix | None = task.covariance
    assert covariance is not None
    assert task.target is not None
    parts = b.reshape(tested.first.shape[1], task.num_features, -1)
    image = covariance @ parts
    visible = np.einsum("idk,jdk->ij", parts, image) / parts.shape[2]
    masked = np.einsum("idk,jdk,d->ij", parts, parts, np.diag(covariance)) / parts.shape[2]
    overlap = np.einsum("idk,dk->i", image, task.target) / parts.shape[2]
    squares = np.einsum("tij,ij->t", tested.pairs, visible) + np.einsum("tij,ij->t", tested.own, masked)
    return squares - 2 * tested.first @ overlap + task.signal_variance
