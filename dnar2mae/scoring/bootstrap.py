"""Uncertainty of scores: intervals over test rows, paired differences over a suite, ranks.

Rows with the same truth and the same predictions are alike to every score of confusion counts, so a resample of
rows is one multinomial draw over such combinations: exact, and quick for any number of rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from dnar2mae.scoring.scores import COUNT_SCORES

RESAMPLES = 2000
# fewer, since scores of ranks are computed anew from the rows each time
_GROUP_RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A score with its percentile bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Format with three digits."""
        return f"{self.value:.3f} (95 % interval {self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelDifference:
    """Mean difference of two models over tasks."""

    difference: Interval
    p_value: float
    """Two-sided: twice the smaller share of resamples on one side of 0, at least 1 / resamples."""
    wins: int
    """Tasks on which the first model's score is higher."""
    num_tasks: int


def resample_scores(
    truth: Int[np.ndarray, " N"],
    predicted: Sequence[Int[np.ndarray, "_ N"]],
    metric: str,
    num_classes: int,
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Float[np.ndarray, "R K"]:
    """Return the scores of K models on resampled test rows, the same rows for all.

    Parameters
    ----------
    truth
        True classes.
    predicted
        Per model the predicted classes of each of its S seeds; a model's score is the mean over them.
    metric
        mcc, macro_f1, f1 or accuracy.
    num_classes
        Number of classes.
    rng
        Source of the resamples.
    resamples
        Number of resamples R.
    """
    columns = np.vstack([truth[None], *predicted])
    combinations, times = np.unique(columns, axis=1, return_counts=True)
    # floating point has a fast matrix product, and holds such counts exactly
    weights = rng.multinomial(len(truth), times / len(truth), size=resamples).astype(np.float64)
    score = COUNT_SCORES[metric]
    means, row = [], 1
    for seeds in predicted:
        values = []
        for _ in range(len(seeds)):
            # each combination adds to one cell of the confusion matrix, as often as it was drawn
            cell = combinations[0] * num_classes + combinations[row]
            to_counts = np.eye(num_classes**2)[cell]
            counts = (weights @ to_counts).reshape(resamples, num_classes, num_classes)
            values.append(score(counts))
            row += 1
        means.append(np.mean(values, axis=0))
    return np.stack(means, axis=1)


def interval(value: float, resampled: Float[np.ndarray, " R"]) -> Interval:
    """Return a value with the central 95 % of its resampled values."""
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(value=value, low=float(low), high=float(high))


def evaluate_groups(
    scores: Float[np.ndarray, " N"], positive: Bool[np.ndarray, " N"], seed: int = 0
) -> dict[str, Interval]:
    """Return AUROC and AUPRC of two groups, with percentile intervals of a bootstrap within each group.

    Parameters
    ----------
    scores
        Higher means more likely positive; no NaN.
    positive
        Which are positive; both groups have a member.
    seed
        Seed of the resampling.

    Returns
    -------
    dict
        ``AUROC`` and ``AUPRC`` (the latter's chance level is the positives' share).
    """
    rng = np.random.default_rng(seed)
    # the score is ranked once: a resample changes only how often each distinct value occurs in each group
    values, rank = np.unique(scores, return_inverse=True)
    groups = rank[positive], rank[~positive]
    observed = _rank_scores(*(np.bincount(group, minlength=len(values)) for group in groups))
    resampled = np.array(
        [
            _rank_scores(*(np.bincount(rng.choice(group, len(group)), minlength=len(values)) for group in groups))
            for _ in range(_GROUP_RESAMPLES)
        ]
    )
    return {name: interval(observed[i], resampled[:, i]) for i, name in enumerate(("AUROC", "AUPRC"))}


def _rank_scores(positives: Int[np.ndarray, " U"], negatives: Int[np.ndarray, " U"]) -> tuple[float, float]:
    """Return AUROC and average precision of the numbers of positives and negatives at each score, ascending."""
    num_positive, num_negative = positives.sum(), negatives.sum()
    # a negative with the same score is half below
    below = np.cumsum(negatives) - negatives / 2
    reached = np.cumsum((positives + negatives)[::-1])
    precision = np.cumsum(positives[::-1]) / np.maximum(reached, 1)
    auroc = positives @ below / (num_positive * num_negative)
    return float(auroc), float(positives[::-1] @ precision / num_positive)


def compare(observed: Float[np.ndarray, " T"], resampled: Sequence[Float[np.ndarray, " R"]]) -> ModelDifference:
    """Compare two models over tasks by a paired bootstrap of their mean difference.

    Parameters
    ----------
    observed
        Difference of the two models' scores on each task.
    resampled
        For each task the same difference on resampled rows.
    """
    means = np.mean(resampled, axis=0)
    side = min((means <= 0).mean(), (means >= 0).mean())
    return ModelDifference(
        difference=interval(float(np.mean(observed)), means),
        p_value=float(min(1.0, max(2 * side, 1 / len(means)))),
        wins=int((np.asarray(observed) > 0).sum()),
        num_tasks=len(observed),
    )


def mean_ranks(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the mean rank of each model over the tasks that all have; 1 is best, equals share their ranks.

    Parameters
    ----------
    scores
        Score by task, by model.
    """
    shared = set.intersection(*(set(of_task) for of_task in scores.values())) if scores else set()
    models = list(scores)
    table = np.array([[scores[model][task] for task in sorted(shared)] for model in models])
    above = (table[None] > table[:, None]).sum(1)
    equal = (table[None] == table[:, None]).sum(1)
    # a model is among its own equals: alone it has the rank above + 1
    ranks = above + (equal + 1) / 2
    return dict(zip(models, ranks.mean(1).tolist(), strict=True)) if shared else {}
