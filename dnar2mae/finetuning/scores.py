"""Scores of predictions on test rows with 95 % intervals, which know of rows that belong together.

Bases of one window are alike, so that each says less than a row of its own: their influence on a score is summed by
window before the standard error is formed, and windows, not bases, are drawn in the bootstrap.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from dnar2mae.scoring.intervals import Interval, Score, score_rows
from dnar2mae.scoring.scores import COUNT_SCORES
from dnar2mae.scoring.scores import Scores as ScoreValues

_DRAWS = 1000
_CLASS_SCORES = ("mcc", "auroc", "auprc", "accuracy", "macro_f1")
Groups = Int[np.ndarray, " M"]


def class_scores(
    wanted: Int[np.ndarray, " M"], probabilities: Float[np.ndarray, "M C"], groups: Groups
) -> dict[str, Interval]:
    """Return the scores of one of several classes; ``groups`` numbers the rows that belong together, from 0."""
    return {name: _interval([_class_score(name, wanted, probabilities, groups)]) for name in _CLASS_SCORES}


def label_scores(
    wanted: Float[np.ndarray, "M C"], probabilities: Float[np.ndarray, "M C"], groups: Groups, names: Sequence[str]
) -> dict[str, Interval]:
    """Return the scores of several labels of 0 and 1: the mean over labels, then those of each."""
    of_labels = {}
    for column, name in enumerate(names):
        both = np.stack([1 - probabilities[:, column], probabilities[:, column]], axis=1)
        truth = wanted[:, column].astype(np.int64)
        of_labels[name] = {
            score: _class_score(score, truth, both, groups) for score in ("auroc", "auprc", "mcc", "accuracy")
        }
    scores = {score: _interval([of[score] for of in of_labels.values()]) for score in next(iter(of_labels.values()))}
    for name, of in of_labels.items():
        scores |= {f"{score} {name}": _interval([of[score]]) for score in ("auroc", "auprc")}
    return scores


def _class_score(name: str, wanted: np.ndarray, probabilities: np.ndarray, groups: Groups) -> Score:
    answers = probabilities.argmax(1) if name in COUNT_SCORES else probabilities
    return _by_group(score_rows(name, wanted, [answers], probabilities.shape[1]), groups)


def _by_group(score: Score, groups: Groups) -> Score:
    """Return a score in which the observed rows of a group are one; added rows stay as they are."""
    number = len(groups)
    observed = np.bincount(groups, score.weights[:number] * score.influence[:number])
    return replace(
        score,
        influence=np.concatenate([observed, score.influence[number:]]),
        weights=np.concatenate([np.ones(len(observed)), score.weights[number:]]),
    )


def _interval(scores: Sequence[Score]) -> Interval:
    """Return the mean of scores of the same rows with its interval."""
    smallest = min(len(score.influence) for score in scores)
    assert all(len(score.influence) == smallest for score in scores)
    first = scores[0]
    return replace(
        first,
        value=float(np.mean([score.value for score in scores])),
        centre=float(np.mean([score.centre for score in scores])),
        influence=np.mean([score.influence for score in scores], axis=0),
    ).interval()


def number_scores(
    wanted: Float[np.ndarray, "M C"], predicted: Float[np.ndarray, "M C"], groups: Groups, names: Sequence[str]
) -> dict[str, Interval]:
    """Return Pearson's and Spearman's correlation and R2, the mean over columns, then Pearson's of each column.

    Ranks are those among all rows, in the draws too.
    """
    from scipy.stats import rankdata

    wanted = wanted.astype(np.float64)  # those of tracks are fp32
    moments = _moments(wanted, predicted, groups)
    ranked = _moments(rankdata(wanted, axis=0), rankdata(predicted, axis=0), groups)
    scores = {
        "pearson": bootstrap(lambda sums: _pearson(sums).mean(-1), moments),
        "spearman": bootstrap(lambda sums: _pearson(sums).mean(-1), ranked),
        "r2": bootstrap(lambda sums: _r2(sums).mean(-1), moments),
    }
    if len(names) > 1:
        for column, name in enumerate(names):
            scores[f"pearson {name}"] = bootstrap(_pearson, moments[:, column])
    return scores


def count_scores(
    wanted: Float[np.ndarray, "M C"], predicted: Float[np.ndarray, "M C"], groups: Groups, names: Sequence[str]
) -> dict[str, Interval]:
    """Return the share of Poisson's deviance that expected counts explain, and the scores of numbers."""
    wanted = wanted.astype(np.float64)  # those of tracks are fp32, where 1e-300 would be 0
    mean = np.maximum(predicted, 1e-12)
    deviance = wanted * np.log(np.maximum(wanted, 1e-300) / mean) - (wanted - mean)
    logs = wanted * np.log(np.maximum(wanted, 1))
    sums = _summed([deviance, np.ones_like(wanted), wanted, logs], groups)

    def explained(sums: np.ndarray) -> ScoreValues:
        with np.errstate(divide="ignore", invalid="ignore"):
            total, number, counts, logs = np.moveaxis(sums, -1, 0)
            return (1 - total / (logs - counts * np.log(counts / number))).mean(-1)

    return {"deviance_explained": bootstrap(explained, sums), **number_scores(wanted, predicted, groups, names)}


def bootstrap(
    score: Callable[[np.ndarray], ScoreValues], sums: Float[np.ndarray, "G ..."], draws: int = _DRAWS
) -> Interval:
    """Return a function of sums over groups with its percentile interval when groups are drawn with replacement."""
    value = float(_known(score(sums.sum(0))))
    if len(sums) < 2:
        return Interval(value=value, low=np.nan, high=np.nan)
    rng = np.random.default_rng(0)
    number = len(sums)
    flat = sums.reshape(number, -1)
    drawn = np.stack([rng.multinomial(number, np.full(number, 1 / number)) @ flat for _ in range(draws)])
    values = _known(score(drawn.reshape(draws, *sums.shape[1:])))
    low, high = np.nanquantile(values, [0.025, 0.975]) if np.isfinite(values).any() else (np.nan, np.nan)
    return Interval(value=value, low=min(float(low), value), high=max(float(high), value))


def _known(values: ScoreValues) -> np.ndarray:
    """Return scores with NaN where they are not finite: of rows whose labels or predictions are all the same."""
    return np.where(np.isfinite(values), values, np.nan)


def _summed(parts: Sequence[np.ndarray], groups: Groups) -> Float[np.ndarray, "G C P"]:
    """Return sums over the rows of each group."""
    together = np.stack(parts, axis=-1)
    out = np.zeros((int(groups.max()) + 1, *together.shape[1:]))
    np.add.at(out, groups, together)
    return out


def _moments(wanted: np.ndarray, predicted: np.ndarray, groups: Groups) -> Float[np.ndarray, "G C 6"]:
    """Return sums of 1, y, x, y^2, x^2 and x y by group, of values moved to a mean of 0, which keeps digits."""
    y, x = wanted - wanted.mean(0), predicted - wanted.mean(0)
    return _summed([np.ones_like(y), y, x, y * y, x * x, x * y], groups)


def _pearson(sums: np.ndarray) -> np.ndarray | np.float64:
    n, y, x, yy, xx, xy = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (xy - x * y / n) / np.sqrt((yy - y * y / n) * (xx - x * x / n))


def _r2(sums: np.ndarray) -> np.ndarray | np.float64:
    n, y, _, yy, xx, xy = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1 - (yy - 2 * xy + xx) / (yy - y * y / n)
