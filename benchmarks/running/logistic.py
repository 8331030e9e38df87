"""Logistic regression whose scaling and penalty are chosen by cross-validation among the labelled rows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from dnar2mae.benchmarks.running.frozen import PATIENCE, selection_value
from dnar2mae.benchmarks.running.options import INNER_FOLDS
from dnar2mae.benchmarks.running.solver import penalty_path, standardise

PENALTIES = tuple(10.0**power for power in range(-4, 4))
"""Inverse strengths of the L2 penalty."""
SCALINGS = ("columns", "whole")
"""columns: each column has sd 1. whole: one factor for all, so that directions of small variance stay small."""


class Setting(NamedTuple):
    """What cross-validation chose."""

    scaling: str
    c: float
    converged: bool
    """Whether the final fit did."""

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
        rows = (vectors[pool], vectors[labelled], vectors[test])
        train, tested = standardise(*rows, by_column=scaling == "columns")
        losses = _path_losses(train, labels)
        if best is None or min(losses) < best[0]:
            best = min(losses), (train, tested, losses), scaling
    assert best is not None
    train, tested, losses = best[1]
    *_, fit = penalty_path(train, labels, PENALTIES[: int(np.argmin(losses)) + 1])
    answers = fit.probabilities(tested, int(fit.classes.max()) + 1).argmax(1)
    return answers, Setting(best[2], fit.c, fit.converged)


def _path_losses(train: Any, labels: np.ndarray, penalties: Sequence[float] = PENALTIES) -> list[float]:
    """Return the cross-validated cross-entropy under each penalty, until two in a row are no better."""
    from sklearn.model_selection import StratifiedKFold

    classes, codes = np.unique(labels, return_inverse=True)
    folds = list(StratifiedKFold(INNER_FOLDS, shuffle=True, random_state=0).split(train, codes))
    paths = [penalty_path(train[inner], codes[inner], penalties) for inner, _ in folds]
    losses: list[float] = []
    for fits in zip(*paths, strict=True):
        held_out = [
            -selection_value("loss", codes[outer], fit.probabilities(train[outer], len(classes)))
            for (_, outer), fit in zip(folds, fits, strict=True)
        ]
        losses.append(float(np.mean(held_out)))
        if len(losses) - 1 - int(np.argmin(losses)) >= PATIENCE:
            break
    return losses
