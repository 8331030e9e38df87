"""Uncertainty of scores over test rows: what each row adds to a score, intervals, paired differences, ranks.

An interval is value ± 1.96 standard errors on the scale of atanh (MCC) or logit (all other scores), so that it stays
within the score's range and is longer on the side where there is room. The standard error is that of the delta
method: the root of the summed squares of what single rows add to the score (their influence).

A few rows that nobody observed, at most a weight of 2 in all, are counted with the others: one in every cell of the
confusion matrix, or for scores of ranks each observed row with every label. Without them a score of 1, or a class that
is never predicted, would have a standard error of 0. The coverage is measured by ``dnar2mae.benchmarks.coverage``.

References
----------
.. [1] Agresti, Coull, "Approximate is better than exact for interval estimation of binomial proportions", The
   American Statistician 52 (1998), 119-126: added rows.
.. [2] Efron, Tibshirani, "An introduction to the bootstrap" (1993), chapter 21: influence and the delta method.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from dnar2mae.scoring.scores import COUNT_SCORES, Scores, confusion

SMALL_CLASS = 100
"""Examples of a class below which reports warn that an interval may miss the truth more often than stated."""
SMALL_CLASS_NOTE = "its intervals are approximate, those of differences too short"
_COUNT_WEIGHT = 1.6
"""Weight of added rows, spread over the cells of the confusion matrix; by the simulated coverage."""
_RANK_WEIGHTS = {"auroc": 0.6, "auprc": 1.2}
"""Weight of added rows for each label; by the simulated coverage."""
_QUANTILE = 1.959964


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A value with its 95 % interval."""

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
    """Two-sided, of the difference over its standard error as a standard normal."""
    wins: int
    """Tasks on which the first model's score is higher."""
    num_tasks: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """A score of a test set and what each of its rows adds."""

    metric: str
    value: float
    """The score of the observed rows."""
    parts: tuple[float, ...]
    """The scores whose mean it is: of seeds, or of classes against the rest."""
    centre: float
    """The score with the added rows."""
    influence: Float[np.ndarray, " R"]
    """What a row adds to ``centre`` for each unit of its weight: the N observed rows, then the added ones."""
    weights: Float[np.ndarray, " R"]

    def interval(self) -> Interval:
        """Return the value with its 95 % interval, which always holds the value; NaN of a score that is NaN."""
        if np.isnan(self.value):
            return Interval(value=self.value, low=np.nan, high=np.nan)
        to_line, back, slope = _MCC_SCALE if self.metric == "mcc" else _SHARE_SCALE
        # The added rows keep a centre off the ends of its range but for rounding.
        edge = 1e-9
        centre = float(np.clip(self.centre, edge - (self.metric == "mcc"), 1 - edge))
        half = _QUANTILE * _standard_error(self.influence, self.weights) * slope(centre)
        low, high = back(to_line(centre) - half), back(to_line(centre) + half)
        return Interval(value=self.value, low=min(low, self.value), high=max(high, self.value))


_MCC_SCALE = (np.arctanh, lambda x: float(np.tanh(x)), lambda value: 1 / (1 - value**2))
_SHARE_SCALE = (
    lambda value: np.log(value / (1 - value)),
    lambda x: float(1 / (1 + np.exp(-x))),
    lambda value: 1 / (value * (1 - value)),
)


def score_rows(
    metric: str, truth: Int[np.ndarray, " N"], answers: Sequence[Shaped[np.ndarray, "N ..."]], num_classes: int
) -> Score:
    """Return a score, the mean over seeds, with the influence of every row.

    Parameters
    ----------
    metric
        mcc, macro_f1, f1, accuracy, auroc or auprc.
    truth
        True classes.
    answers
        Per seed the predicted classes [N], or the probabilities [N, C] where the metric is auroc or auprc.
    num_classes
        Number of classes; the mean of one class against the rest where auroc or auprc has more than two.
    """
    if metric in COUNT_SCORES:
        parts = [_score_counts(metric, truth, predicted, num_classes) for predicted in answers]
    else:
        sides = [1] if num_classes == 2 else range(num_classes)
        parts = [score_ranks(metric, truth == side, table[:, side]) for table in answers for side in sides]
    return Score(
        metric=metric,
        value=float(np.mean([part.value for part in parts])),
        parts=tuple(part.value for part in parts),
        centre=float(np.mean([part.centre for part in parts])),
        influence=np.mean([part.influence for part in parts], axis=0),
        weights=parts[0].weights,
    )


def score_ranks(metric: str, positive: Bool[np.ndarray, " N"], scores: Float[np.ndarray, " N"]) -> Score:
    """Return the AUROC or AUPRC (its chance level is the positives' share) of two groups with every row's influence.

    Parameters
    ----------
    metric
        auroc or auprc.
    positive
        Which are positive; the score is NaN where a group has no member.
    scores
        Higher means more likely positive; no NaN.
    """
    num_rows = len(scores)
    influence_of = _auroc if metric == "auroc" else _auprc
    added = np.full(num_rows, _RANK_WEIGHTS[metric] / num_rows)
    is_positive = np.concatenate([positive, np.ones(num_rows, bool), np.zeros(num_rows, bool)])
    weights = np.concatenate([np.ones(num_rows), added, added])
    if not 0 < np.sum(positive) < num_rows:
        nothing = np.full(len(weights), np.nan)
        return Score(metric=metric, value=np.nan, parts=(), centre=np.nan, influence=nothing, weights=weights)
    _, rank = np.unique(-scores, return_inverse=True)  # the highest score first
    value, _ = influence_of(rank, np.asarray(positive, bool), np.ones(num_rows))
    centre, influence = influence_of(np.tile(rank, 3), is_positive, weights)
    return Score(metric=metric, value=value, parts=(value,), centre=centre, influence=influence, weights=weights)


def difference(first: Score, second: Score) -> Interval:
    """Return the paired difference of two scores of the same rows, with its 95 % interval."""
    return compare([(first, second)]).difference


def evaluate_groups(scores: Float[np.ndarray, " N"], positive: Bool[np.ndarray, " N"]) -> dict[str, Interval]:
    """Return ``AUROC`` and ``AUPRC`` of two groups with intervals, as :func:`score_ranks` takes them."""
    return {name.upper(): score_ranks(name, positive, scores).interval() for name in _RANK_WEIGHTS}


def compare(pairs: Sequence[tuple[Score, Score]]) -> ModelDifference:
    """Compare two models by their mean difference over tasks, each on the same rows.

    Parameters
    ----------
    pairs
        For each task the scores of both models.
    """
    from scipy.stats import norm

    values = np.array([first.value - second.value for first, second in pairs])
    centre = float(np.mean([first.centre - second.centre for first, second in pairs]))
    errors = [_standard_error(first.influence - second.influence, first.weights) for first, second in pairs]
    mean, error = float(values.mean()), float(np.linalg.norm(errors) / len(pairs))
    # the largest difference there can be: of two MCCs 2, else 1
    most = max(2.0 if first.metric == "mcc" else 1.0 for first, _ in pairs)
    low, high = np.clip([centre - _QUANTILE * error, centre + _QUANTILE * error], -most, most).tolist()
    # models with equal predictions differ by 0 with an error of 0; of a score that is NaN nothing is known
    p_value = 1.0 if error == 0 else 2 * float(norm.sf(abs(centre) / error))
    return ModelDifference(
        difference=Interval(value=mean, low=min(low, mean), high=max(high, mean)),
        p_value=p_value,
        wins=int((values > 0).sum()),
        num_tasks=len(pairs),
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


def _standard_error(influence: np.ndarray, weights: np.ndarray) -> float:
    return float(np.sqrt((weights * influence**2).sum()))


def _score_counts(metric: str, truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> Score:
    score = COUNT_SCORES[metric]
    counts = confusion(truth, predicted, num_classes)
    used = np.ones(counts.shape, bool)
    if metric == "macro_f1":  # a class that is nowhere is no part of this mean, and must not become one by added rows
        used = np.logical_and.outer(*[counts.sum(0) + counts.sum(1) > 0] * 2)
    with_added = counts + used * (_COUNT_WEIGHT / used.sum())
    slopes = np.where(used.ravel(), _slopes(score, with_added), 0.0)
    # A score does not change when all counts grow alike, so the weighted mean of the slopes is 0 but for rounding.
    cells = np.asarray(truth, np.int64) * num_classes + predicted
    value = float(score(counts))
    return Score(
        metric=metric,
        value=value,
        parts=(value,),
        centre=float(score(with_added)),
        influence=np.concatenate([slopes[cells], slopes]),
        weights=np.concatenate([np.ones(len(truth)), (with_added - counts).ravel()]),
    )


def _slopes(score: Callable[[np.ndarray], Scores], counts: Float[np.ndarray, "C C"]) -> Float[np.ndarray, " K"]:
    """Return the derivative of a score by the count of each cell, by central differences."""
    step = 1e-3 * min(1.0, float(counts[counts > 0].min()))
    moves = step * np.eye(counts.size).reshape(-1, *counts.shape)
    return np.asarray(score(counts + moves) - score(counts - moves)) / (2 * step)


def _auroc(rank: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean over positives of the share of negatives that score less, equal ones as half, by weight.

    The second value is its derivative by the weight of every row; rank 0 has the highest score.
    """
    at_positive, at_negative = _at_ranks(rank, positive, weights)
    below = 1 - (np.cumsum(at_negative) - at_negative / 2) / at_negative.sum()
    above = (np.cumsum(at_positive) - at_positive / 2) / at_positive.sum()
    auroc = float(at_positive @ below / at_positive.sum())
    of_positive, of_negative = (below[rank] - auroc) / at_positive.sum(), (above[rank] - auroc) / at_negative.sum()
    return auroc, np.where(positive, of_positive, of_negative)


def _auprc(rank: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean over positives of the precision at their score, by weight, and its derivative as _auroc does."""
    at_positive, at_negative = _at_ranks(rank, positive, weights)
    positives, negatives = np.cumsum(at_positive), np.cumsum(at_negative)
    reached = positives + negatives
    precision = positives / reached
    average = float(at_positive @ precision / positives[-1])
    # A row also changes the precision at every score that is not above its own.
    gained = np.cumsum((at_positive * negatives / reached**2)[::-1])[::-1]
    lost = np.cumsum((at_positive * positives / reached**2)[::-1])[::-1]
    return average, np.where(positive, precision[rank] - average + gained[rank], -lost[rank]) / positives[-1]


def _at_ranks(rank: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = int(rank.max()) + 1
    return np.bincount(rank, weights * positive, size), np.bincount(rank, weights * ~positive, size)
