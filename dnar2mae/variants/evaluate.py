"""How well scores tell two groups of variants apart, with intervals."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

_RESAMPLES = 1000


class Interval(NamedTuple):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Format with three digits."""
        return f"{self.value:.3f} (95 % interval {self.low:.3f} to {self.high:.3f})"


def auroc(scores: Float[np.ndarray, " N"], positive: Bool[np.ndarray, " N"]) -> float:
    """Probability that a positive's score is above a negative's, ties counted half."""
    negatives = np.sort(scores[~positive])
    below = np.searchsorted(negatives, scores[positive], side="left")
    not_above = np.searchsorted(negatives, scores[positive], side="right")
    return float((below + not_above).mean() / (2 * len(negatives)))


def auprc(scores: Float[np.ndarray, " N"], positive: Bool[np.ndarray, " N"]) -> float:
    """Average precision: precision at each distinct score, weighted by the gain in recall there."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(positive[order])
    last = np.append(np.diff(scores[order]) != 0, True)
    found, called = hits[last], np.flatnonzero(last) + 1
    return float((np.diff(found, prepend=0) * found / called).sum() / hits[-1])


def evaluate(scores: Float[np.ndarray, " N"], positive: Bool[np.ndarray, " N"], seed: int = 0) -> dict[str, Interval]:
    """AUROC and AUPRC with percentile intervals of a bootstrap within each group.

    Parameters
    ----------
    scores
        Higher means more likely positive; no NaN.
    positive
        Which are positive; both groups have a member.
    seed
        Of the resampling.

    Returns
    -------
    dict
        ``AUROC`` and ``AUPRC`` (the latter's chance level is the positives' share).
    """
    rng = np.random.default_rng(seed)
    groups = np.flatnonzero(positive), np.flatnonzero(~positive)
    draws = [np.concatenate([rng.choice(g, len(g)) for g in groups]) for _ in range(_RESAMPLES)]
    found = {}
    for name, measure in (("AUROC", auroc), ("AUPRC", auprc)):
        low, high = np.percentile([measure(scores[rows], positive[rows]) for rows in draws], [2.5, 97.5])
        found[name] = Interval(measure(scores, positive), float(low), float(high))
    return found
