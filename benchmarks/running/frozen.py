"""Classifiers on frozen vectors: logistic regression and nearest neighbours, each with its setting chosen on dev."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dnar2mae.benchmarks.running.protocol import KnnSettings, ProbeSettings
from dnar2mae.benchmarks.running.solver import Fit, penalty_path, standardise
from dnar2mae.scoring.scores import confusion, mcc

PATIENCE = 2
"""Penalties in a row that may be no better than the best before a search by one value ends."""
_LONG_PATIENCE = 3
FROZEN = ("probe", "knn")
"""Methods that need one vector a row only."""
AT_EDGE = "the penalty chosen is at an edge of the grid"
NOT_CONVERGED = "the logistic regression chosen has not converged"
MOST_COLUMNS = 4096
"""Columns up to which sparse features are made dense, and centred, before a probe."""
_MIN_PROBABILITY = 1e-12  # so that one sure and wrong answer does not make the loss infinite
_CHUNK_ROWS = 1024  # rows whose similarities to all training rows are in memory at once


class Predicted(NamedTuple):
    """A classifier's answers for the test rows."""

    probabilities: Float[np.ndarray, "N C"]
    """Class probabilities."""
    setting: dict[str, Any]
    """What was chosen on dev."""
    dev: float
    """Its selection value on dev: MCC, or minus the cross-entropy in nats."""
    notes: tuple[str, ...] = ()
    """What a reader must know of the choice."""
    of_dev: Float[np.ndarray, "M C"] | None = None
    """Class probabilities of the dev rows, of a probe."""


class Features(NamedTuple):
    """Vectors of the three splits, dense or sparse."""

    train: Any
    dev: Any
    test: Any


Labels = tuple[Int[np.ndarray, " N"], Int[np.ndarray, " M"]]
"""Classes of the training and the dev rows."""


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
    features: Features, labels: Labels, num_classes: int, settings: ProbeSettings, select: str = "mcc"
) -> Predicted:
    """Fit a logistic regression with an L2 penalty, chosen on dev.

    Features are standardised with the mean and sd of the training rows. Equal values on dev go to the stronger
    penalty. Dev rows are never learned from.

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
    return _search(standardised(features), labels, num_classes, settings, select)


def best_of(fits: Mapping[str, Predicted]) -> Predicted:
    """Return the probe that is best on dev; equal values go to the first.

    The setting has the name of its features where there is a choice.
    """
    name = max(fits, key=lambda name: fits[name].dev)
    named = {"features": name} if len(fits) > 1 else {}
    return fits[name]._replace(setting=named | fits[name].setting)


def ensemble(fits: Mapping[str, Predicted], labels: Int[np.ndarray, " M"], most: int) -> Predicted:
    """Return the mean of several probes' log-probabilities, chosen one after the other by cross-entropy on dev [1]_.

    Each choice is the probe that lowers it most together with those chosen before, one of which it may be, until none
    does or there are ``most``.

    Parameters
    ----------
    fits
        Probes of different features.
    labels
        Classes of the dev rows.
    most
        Most choices.

    Returns
    -------
    Predicted
        Its setting has each one's features with how often it was chosen, and penalty.

    References
    ----------
    .. [1] Caruana, Niculescu-Mizil, Crew, Ksikes, "Ensemble selection from libraries of models", ICML 2004.
    """
    if len(fits) == 1:
        return best_of(fits)
    logs: dict[str, list[np.ndarray]] = {}
    for name, fit in fits.items():
        assert fit.of_dev is not None, "a probe has answers for the dev rows"
        logs[name] = [np.log(np.maximum(part, _MIN_PROBABILITY)) for part in (fit.of_dev, fit.probabilities)]
    chosen: list[str] = []
    sums = [np.zeros_like(part) for part in next(iter(logs.values()))]
    value = -np.inf
    while len(chosen) < most:
        gains = {
            name: selection_value("loss", labels, _normalised((sums[0] + own[0]) / (len(chosen) + 1)))
            for name, own in logs.items()
        }
        name = max(gains, key=gains.__getitem__)
        if gains[name] <= value:
            break
        value, sums = gains[name], [total + own for total, own in zip(sums, logs[name], strict=True)]
        chosen.append(name)
    counts = {name: chosen.count(name) for name in fits if name in chosen}
    features = " + ".join(name if n == 1 else f"{n} {name}" for name, n in counts.items())
    c = ", ".join(f"{fits[name].setting['c']:g}" for name in counts)
    notes = tuple(dict.fromkeys(note for name in counts for note in fits[name].notes))
    of_dev, of_test = (_normalised(total / len(chosen)) for total in sums)
    return Predicted(of_test, {"features": features, "c": c}, value, notes, of_dev)


def _normalised(logs: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "N C"]:
    from scipy.special import softmax

    return softmax(logs, axis=1)


def probe_together(
    blocks: Sequence[tuple[Features, float]],
    labels: Labels,
    num_classes: int,
    settings: ProbeSettings,
    select: str = "mcc",
) -> Predicted:
    """Fit one logistic regression on several blocks of features side by side; parameters as for :func:`probe`.

    Each block comes with the inverse penalty that suits it alone: it is standardised, then scaled by its root, so that
    a penalty of 1 is for every block the one that it was best with. With one penalty for columns of one scale, the
    wide block that wants a strong penalty would be over-fitted or the other one under-fitted.
    """
    scaled = [Features(*(part * part.dtype.type(np.sqrt(c)) for part in standardised(block))) for block, c in blocks]
    return _search(Features(*map(_beside, zip(*scaled, strict=True))), labels, num_classes, settings, select)


def standardised(features: Features) -> Features:
    """Return features with the mean 0 and sd 1 of the training rows; sparse ones that stay so are not centred."""
    if not isinstance(features.train, np.ndarray) and features.train.shape[1] <= MOST_COLUMNS:
        features = Features(*(part.astype(np.float32).toarray() for part in features))
    return Features(*standardise(features.train, *features))


def _beside(parts: Sequence[Any]) -> Any:
    from scipy.sparse import hstack

    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts, axis=1)
    return hstack(parts, format="csr")


def _search(features: Features, labels: Labels, num_classes: int, settings: ProbeSettings, select: str) -> Predicted:
    """Fit penalties from the strongest on, until some in a row are no better on dev.

    Fits that are chosen by MCC must be no better by their cross-entropy either: under strong penalties all rows may get
    one class, by which MCC is 0 for several penalties before it rises.
    """
    candidates: list[Predicted] = []
    losses: list[float] = []
    for fit in penalty_path(features.train, labels[0], settings.c):
        of_dev, of_test = (fit.probabilities(rows, num_classes) for rows in (features.dev, features.test))
        value = selection_value(select, labels[1], of_dev)
        candidates.append(Predicted(of_test, {"c": fit.c}, value, _notes(fit, settings.c), of_dev))
        losses.append(-selection_value("loss", labels[1], of_dev))
        best = int(np.argmax([candidate.dev for candidate in candidates]))
        if len(losses) - 1 - max(best, int(np.argmin(losses))) >= (_LONG_PATIENCE if select == "mcc" else PATIENCE):
            break
    return max(candidates, key=lambda candidate: candidate.dev)


def _notes(fit: Fit, grid: Sequence[float]) -> tuple[str, ...]:
    at_edge = len(grid) > 1 and fit.c in (min(grid), max(grid))
    return (AT_EDGE,) * at_edge + (NOT_CONVERGED,) * (not fit.converged)


def nearest(
    features: Features, labels: Labels, num_classes: int, settings: KnnSettings, select: str = "mcc"
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
