"""What a fine-tuned model is compared with: counts of k-mers, or a modality's raw features, in a linear model."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dnar2mae.finetuning.kmers import kmer_counts
from dnar2mae.finetuning.problem import SampleProblem
from dnar2mae.finetuning.targets import Classes, Target
from dnar2mae.homology.letters import reverse_complement
from dnar2mae.inference.loading import TrainedModel
from dnar2mae.scoring.intervals import Interval

_STRENGTHS = tuple(10.0**power for power in range(-4, 4))
_REACH_BP, _NEAR_K, _MOST_BASES, _LEAST_BASES = 50, 4, 20_000, 100
"""For bases: k-mers up to 4 within 50 bp on either side, learned from so many of them, of each class at least so many
where there are."""
Fitted = Callable[[Any], Float[np.ndarray, "M P"]]


class Yardstick(NamedTuple):
    """A linear model on features that need no network."""

    name: str
    scores: dict[str, Interval]


def fit_yardsticks(problem: SampleProblem, trained: TrainedModel, check: Callable[[], object]) -> list[Yardstick]:
    """Fit a linear model on each kind of raw features, its penalty chosen on dev; score it on test."""
    if problem.target.per == "base":
        return [_of_bases(problem, check)]
    test = problem.ids("test")
    yardsticks = []
    for name, features in _features(problem, trained).items():
        check()
        fitted = _chosen(problem.target, *(_rows(problem, features, part) for part in ("train", "dev")))
        predicted, groups = fitted(features[test]), np.arange(len(test))
        yardsticks.append(Yardstick(name, problem.target.scores(predicted, problem.wanted[test], groups)))
    return yardsticks


class _Known(NamedTuple):
    """Features, dense or sparse, with labels."""

    features: Any
    wanted: Float[np.ndarray, "M C"]


def _rows(problem: SampleProblem, features: Any, part: str) -> _Known:
    ids = problem.ids(part)
    return _Known(features[ids], problem.wanted[ids])


def _features(problem: SampleProblem, trained: TrainedModel) -> dict[str, Any]:
    samples = problem.samples
    if not samples.has_strands:
        return trained.modality.raw_features(samples.source)
    letters = samples.letters(range(len(samples)))
    counts = kmer_counts(letters)
    if problem.both_strands:
        counts = (counts + kmer_counts([reverse_complement(sequence) for sequence in letters])) / 2
    return {"k-mer counts": counts}


def _chosen(target: Target, train: _Known, dev: _Known) -> Fitted:
    """Return the linear model whose penalty has the lowest loss on dev."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(with_mean=isinstance(train.features, np.ndarray)).fit(train.features)
    x, at_dev = scaler.transform(train.features), scaler.transform(dev.features)
    best: tuple[float, Fitted] | None = None
    for strength in _STRENGTHS:
        with warnings.catch_warnings():
            # under the weakest penalties; those are no better on dev either
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted = _fit(target, x, train.wanted, strength)
        loss = _loss(target, fitted(at_dev), dev.wanted)
        if best is None or loss < best[0]:
            best = loss, fitted
    assert best is not None
    chosen = best[1]
    return lambda features: chosen(scaler.transform(features))


def _fit(target: Target, x: Any, wanted: Float[np.ndarray, "M C"], strength: float) -> Fitted:
    """Fit a linear model whose penalty is weaker the larger ``strength`` is; return its predictions."""
    from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge

    if target.is_probability:
        weights = "balanced" if getattr(target, "weights", ()) else None
        columns = [
            LogisticRegression(C=strength, max_iter=300, class_weight=weights).fit(x, column.astype(np.int64))
            for column in wanted.T
        ]
        if isinstance(target, Classes):
            return lambda features: _all_classes(columns[0], features, len(target.classes))
        return lambda features: np.stack([model.predict_proba(features)[:, 1] for model in columns], axis=1)
    if target.kind == "counts":
        # sparse counts are dense from here on: this model takes steps in all columns anyway
        x = x if isinstance(x, np.ndarray) else x.tocsr()
        models = [PoissonRegressor(alpha=1 / strength, max_iter=300).fit(x, column) for column in wanted.T]
    else:
        models = [Ridge(alpha=len(wanted) ** 0.5 / strength).fit(x, column) for column in wanted.T]
    return lambda features: np.stack([model.predict(features) for model in models], axis=1)


def _all_classes(model: Any, features: Any, number: int) -> Float[np.ndarray, "M C"]:
    """Return probabilities of all classes, 0 of those without a training row."""
    probabilities = np.zeros((features.shape[0], number))
    probabilities[:, model.classes_] = model.predict_proba(features)
    return probabilities


def _loss(target: Target, predicted: Float[np.ndarray, "M P"], wanted: Float[np.ndarray, "M C"]) -> float:
    if isinstance(target, Classes):
        chosen = predicted[np.arange(len(wanted)), wanted[:, 0].astype(np.int64)]
        return float(-np.log(np.maximum(chosen, 1e-12)).mean())
    if target.is_probability:
        chosen = np.where(wanted == 1, predicted, 1 - predicted)
        return float(-np.log(np.maximum(chosen, 1e-12)).mean())
    # in the unit of the target's loss: of several columns none decides because its numbers are large
    predicted, wanted = target.scaled(predicted), target.scaled(wanted)
    if target.kind == "counts":
        return float((predicted - wanted * np.log(np.maximum(predicted, 1e-12))).mean())
    return float(np.square(predicted - wanted).mean())


def _of_bases(problem: SampleProblem, check: Callable[[], object]) -> Yardstick:
    """Fit counts of the k-mers around bases: some training bases, then some test bases of every window."""
    parts = {}
    for part, limit in (("train", _MOST_BASES), ("dev", _MOST_BASES // 4), ("test", _MOST_BASES)):
        check()
        parts[part] = _bases(problem, part, limit)
    fitted = _chosen(problem.target, parts["train"][0], parts["dev"][0])
    test, groups = parts["test"]
    scores = problem.target.scores(fitted(test.features), test.wanted, groups)
    return Yardstick(f"k-mer counts within {_REACH_BP} bp", scores)


def _bases(problem: SampleProblem, part: str, limit: int) -> tuple[_Known, Int[np.ndarray, " M"]]:
    """Return counts around labelled bases of a part, drawn at random, their labels, and numbers of their samples."""
    ids = problem.ids(part)
    known = np.argwhere(~np.isnan(problem.wanted[ids]).any(-1))
    if len(known) > limit:
        drawn = np.random.default_rng(0).choice(len(known), limit, replace=False)
        if part == "train" and isinstance(problem.target, Classes):
            # no class can be learned of which no base was drawn
            labels = problem.wanted[ids][known[:, 0], known[:, 1], 0]
            drawn = np.union1d(drawn, np.concatenate([_spread(labels == c) for c in np.unique(labels)]))
        known = known[np.sort(drawn)]
    around: list[str] = []
    for row in np.unique(known[:, 0]):
        (letters,) = problem.samples.letters([int(ids[row])])
        around += [
            letters[max(position - _REACH_BP, 0) : position + _REACH_BP + 1]
            for position in known[known[:, 0] == row, 1].tolist()
        ]
    groups = np.unique(known[:, 0], return_inverse=True)[1]
    return _Known(kmer_counts(around, _NEAR_K), problem.wanted[ids][known[:, 0], known[:, 1]]), groups


def _spread(chosen: np.ndarray) -> Int[np.ndarray, " M"]:
    """Return the indices of some that are chosen, evenly spread."""
    indices = np.flatnonzero(chosen)
    return indices[:: max(len(indices) // _LEAST_BASES, 1)][:_LEAST_BASES]
