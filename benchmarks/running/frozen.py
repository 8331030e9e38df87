"""Classifiers on frozen vectors: logistic regression and nearest neighbours, each with its setting chosen on dev."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dnar2mae.benchmarks.running.protocol import KnnSettings, ProbeSettings
from dnar2mae.scoring.scores import confusion, mcc

_MAX_ITERATIONS = 200
_TOLERANCE = 1e-4  # of the largest entry of the gradient of the mean loss
PATIENCE = 2
"""Penalties in a row that may be no better than the best."""
_MIN_PROBABILITY = 1e-12  # so that one sure and wrong answer does not make the loss infinite
_CHUNK_ROWS = 1024  # rows whose similarities to all training rows are in memory at once


class Predicted(NamedTuple):
    """A classifier's answers for the test rows."""

    probabilities: Float[np.ndarray, "N C"]
    """Class probabilities."""
    setting: dict[str, float]
    """What was chosen on dev."""
    dev: float
    """Its selection value on dev: MCC, or minus the cross-entropy in nats."""


class Features(NamedTuple):
    """Vectors of the three splits, dense or sparse."""

    train: Any
    dev: Any
    test: Any


def selection_value(select: str, labels: Int[np.ndarray, " N"], probabilities: Float[np.ndarray, "N C"]) -> float:
    """Return what a protocol maximises on dev.

    Parameters
    ----------
    select
        ``mcc``, or ``loss`` for minus the mean cross-entropy.
    labels
        True classes.
    probabilities
        Class probabilities.
    """
    if select == "loss":
        return float(np.log(np.maximum(probabilities[np.arange(len(labels)), labels], _MIN_PROBABILITY)).mean())
    return float(mcc(confusion(labels, probabilities.argmax(1), probabilities.shape[1])))


def probe(
    features: Features,
    labels: tuple[Int[np.ndarray, " N"], Int[np.ndarray, " M"]],
    num_classes: int,
    settings: ProbeSettings,
    select: str = "mcc",
) -> Predicted:
    """Fit a logistic regression with an L2 penalty, chosen on dev.

    Dense features are standardised with the mean and sd of the training rows; sparse ones are divided by the sd and
    stay sparse. Penalties are tried from the strongest on, until two in a row are no better on dev than the best;
    equal values go to the stronger one. Dev rows are never learned from.

    Parameters
    ----------
    features
        Vectors.
    labels
        Classes of the training and the dev rows.
    num_classes
        Number of classes; those without a training row get probability 0.
    settings, select
        Of the protocol.
    """
    from sklearn.preprocessing import StandardScaler

    is_dense = isinstance(features.train, np.ndarray)  # centring would fill a sparse matrix
    scaler = StandardScaler(with_mean=is_dense).fit(features.train)
    train, dev, test = (scaler.transform(x) for x in features)
    candidates: list[Predicted] = []
    for c, model in penalty_path(train, labels[0], settings.c, _MAX_ITERATIONS):
        of_dev, of_test = (np.zeros((x.shape[0], num_classes)) for x in (dev, test))
        of_dev[:, model.classes_], of_test[:, model.classes_] = model.predict_proba(dev), model.predict_proba(test)
        candidates.append(Predicted(of_test, {"c": c}, selection_value(select, labels[1], of_dev)))
        if len(candidates) - 1 - int(np.argmax([candidate.dev for candidate in candidates])) >= PATIENCE:
            break
    return max(candidates, key=lambda candidate: candidate.dev)


def penalty_path(
    train: Any,
    labels: Int[np.ndarray, " N"],
    penalties: Sequence[float],
    max_iterations: int,
    tolerance: float = _TOLERANCE,
) -> Iterator[tuple[float, Any]]:
    """Yield a logistic regression for each inverse penalty strength, from the strongest penalty on.

    Each fit starts from the one before, so that most of the path takes a few iterations; the same object is yielded
    each time. Fits that ``max_iterations`` have cut short are yielded as well (``n_iter_`` says so): weak penalties
    need not converge to be judged.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(warm_start=True, max_iter=max_iterations, tol=tolerance)
    for c in sorted(penalties):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.set_params(C=c).fit(train, labels)
        yield c, model


def nearest(
    features: Features,
    labels: tuple[Int[np.ndarray, " N"], Int[np.ndarray, " M"]],
    num_classes: int,
    settings: KnnSettings,
    select: str = "mcc",
) -> Predicted:
    """Let the k nearest training rows vote, by cosine similarity after centring on the training mean.

    Equal votes go to the class of lower id; k is chosen on dev, equal values going to the smaller one. Parameters as
    for :func:`probe`; features are dense.
    """
    centre = features.train.mean(0)
    train, dev, test = (_unit(x - centre) for x in features)
    most = min(max(settings.k), len(train))
    votes_of = {name: _neighbours(x, train, labels[0], most) for name, x in (("dev", dev), ("test", test))}

    def probabilities(name: str, k: int) -> np.ndarray:
        return np.stack([(votes_of[name][:, :k] == c).mean(1) for c in range(num_classes)], axis=1)

    usable = sorted({min(k, most) for k in settings.k})
    judged = [(selection_value(select, labels[1], probabilities("dev", k)), k) for k in usable]
    best, k = max(judged, key=lambda pair: pair[0])
    return Predicted(probabilities("test", k), {"k": k}, best)


FROZEN: dict[str, Callable[..., Predicted]] = {"probe": probe, "knn": nearest}
"""Methods that need vectors only."""


def _unit(x: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _neighbours(x: np.ndarray, train: np.ndarray, labels: Sequence[int] | np.ndarray, k: int) -> np.ndarray:
    """Return the labels of the k nearest training rows, nearest first."""
    chunks = []
    for start in range(0, len(x), _CHUNK_ROWS):
        similarity = x[start : start + _CHUNK_ROWS] @ train.T
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        chunks.append(np.asarray(labels)[order])
    return np.concatenate(chunks)
