"""Logistic regression that converges, its scaling and penalty chosen by cross-validation among the labelled rows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from dnar2mae.benchmarks.running.frozen import PATIENCE, penalty_path, selection_value
from dnar2mae.benchmarks.running.options import INNER_FOLDS

PENALTIES = tuple(10.0**power for power in range(-4, 4))
"""Inverse strengths of the L2 penalty."""
SCALINGS = ("columns", "whole")
"""columns: each column has sd 1. whole: one factor for all, so that directions of small variance stay small."""
_MAX_ITERATIONS = 20_000
_TOLERANCE = 1e-5  # of the gradient of the mean loss: at 1e-4 weak penalties stop where stronger ones ended
_SMALLEST = 1e-6  # a column that varies less, as a share of the largest, is constant up to rounding


class Setting(NamedTuple):
    """What cross-validation chose."""

    scaling: str
    c: float
    converged: bool
    """Whether the final fit did, before 20,000 iterations."""

    @property
    def is_at_edge(self) -> bool:
        """Whether the weakest or strongest penalty was chosen: a longer grid might have another."""
        return self.c in (PENALTIES[0], PENALTIES[-1])


def classify(
    vectors: Any, labels: Int[np.ndarray, " L"], labelled: Int[np.ndarray, " L"], test: Int[np.ndarray, " M"]
) -> tuple[Int[np.ndarray, " M"], Setting]:
    """Learn from the labelled rows, predict the test rows.

    Scaling and penalty have the lowest cross-entropy in a stratified cross-validation of three folds. Columns are
    scaled by all rows that are not tested, since that needs no labels.

    Parameters
    ----------
    vectors
        ``[N, F]`` of all rows, dense or sparse.
    labels
        Classes of the labelled rows, at least two of each.
    labelled, test
        Rows by index.
    """
    pool = np.setdiff1d(np.arange(vectors.shape[0]), test)
    best: tuple[float, Any, str] | None = None
    for scaling in SCALINGS:
        train, tested = _rotated(*_scaled(vectors, scaling, pool, labelled, test))
        losses = _path_losses(train, labels)
        if best is None or min(losses) < best[0]:
            best = min(losses), (train, tested, losses), scaling
    assert best is not None
    train, tested, losses = best[1]
    *_, (c, model) = penalty_path(train, labels, PENALTIES[: int(np.argmin(losses)) + 1], _MAX_ITERATIONS, _TOLERANCE)
    return model.predict(tested), Setting(best[2], c, bool(model.n_iter_.max() < _MAX_ITERATIONS))


def _scaled(vectors: Any, scaling: str, pool: np.ndarray, *chosen: np.ndarray) -> list[Any]:
    """Return chosen rows, scaled by the rows of the pool; dense ones are centred, sparse ones stay sparse."""
    from sklearn.preprocessing import StandardScaler

    is_dense = isinstance(vectors, np.ndarray)
    scaler = StandardScaler(with_mean=is_dense).fit(vectors[pool])
    sd = np.sqrt(scaler.var_)
    constant = sd <= _SMALLEST * sd.max()
    scaler.scale_ = np.where(constant, np.inf, sd if scaling == "columns" else np.sqrt((sd**2).mean()))
    return [scaler.transform(vectors[rows]) for rows in chosen]


def _rotated(train: Any, test: Any) -> tuple[Any, Any]:
    """Return coordinates in the span of the training rows where these are fewer than columns.

    A squared penalty depends on inner products alone, so the classifier is the same and the fit many times faster.
    """
    if train.shape[0] >= train.shape[1]:
        return train, test
    products, across = train @ train.T, test @ train.T
    if not isinstance(products, np.ndarray):
        products, across = products.toarray(), across.toarray()
    values, directions = np.linalg.eigh(products.astype(np.float64))
    kept = values > values.max() * len(values) * np.finfo(np.float32).eps
    root = np.sqrt(values[kept])
    return (directions[:, kept] * root).astype(np.float32), (across @ (directions[:, kept] / root)).astype(np.float32)


def _path_losses(train: Any, labels: np.ndarray, penalties: Sequence[float] = PENALTIES) -> list[float]:
    """Return the cross-validated cross-entropy under each penalty, until two in a row are no better."""
    from sklearn.model_selection import StratifiedKFold

    classes, codes = np.unique(labels, return_inverse=True)
    folds = list(StratifiedKFold(INNER_FOLDS, shuffle=True, random_state=0).split(train, codes))
    paths = [penalty_path(train[inner], codes[inner], penalties, _MAX_ITERATIONS, _TOLERANCE) for inner, _ in folds]
    losses: list[float] = []
    for fits in zip(*paths, strict=True):
        held_out = [
            -selection_value("loss", codes[outer], model.predict_proba(train[outer]))
            for (_, outer), (_, model) in zip(folds, fits, strict=True)
        ]
        losses.append(float(np.mean(held_out)))
        if len(losses) - 1 - int(np.argmin(losses)) >= PATIENCE:
            break
    return losses
