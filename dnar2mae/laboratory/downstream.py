"""Classes predicted from a run's frozen vectors: from all labels, from few, and with a part of each input missing."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from dnar2mae.batch import Batch, FiniteSource
from dnar2mae.benchmarks.models.pooling import batched, by_name, pool_layers
from dnar2mae.benchmarks.rows.samples import content_hashes, labels_of
from dnar2mae.benchmarks.running.frozen import Features, best_of, probe
from dnar2mae.benchmarks.running.logistic import classify
from dnar2mae.benchmarks.running.protocol import load_protocol
from dnar2mae.errors import ConfigError
from dnar2mae.inference import TrainedModel
from dnar2mae.laboratory.labelled import Labelled
from dnar2mae.masking import Masker, MaskPlan
from dnar2mae.masking.draw import hidden_tokens
from dnar2mae.modalities.contract import Modality
from dnar2mae.models.hidden_states import sample_layers, tokens_at_once
from dnar2mae.models.pooling import pooled_layers
from dnar2mae.scoring.scores import accuracy, confusion

MISSING = (0.0, 0.25, 0.5, 0.75)
"""Shares of each test input that are missing."""
KIND = "last"
"""Kind of the vectors in the columns of few labels and of missing inputs."""
_SEED = 0x3155  # of what is missing: the same tokens for every run, whatever its law and seed
_TESTED = 1000  # answers behind a column, at least about: few test samples are shown under several masks
_MOST_MASKS = 8
_FEW_DRAWS = 5


@dataclass(frozen=True)
class ClassedSamples:
    """Samples in memory with their classes; the split goes by a hash of the content, so that equal ones share it."""

    samples: Batch
    classes: Int[np.ndarray, " N"]
    tenths: Int[np.ndarray, " N"]
    """0 to 6 train, 7 dev, 8 and 9 test."""

    def split(self, name: str) -> Int[np.ndarray, " _"]:
        """Return the numbers of the samples of a split: train, dev or test."""
        first, last = {"train": (0, 6), "dev": (7, 7), "test": (8, 9)}[name]
        return np.flatnonzero((self.tenths >= first) & (self.tenths <= last))


@dataclass(frozen=True)
class _InMemory:
    """Samples as a source; each is numbered as it lies here, by which its masks are drawn."""

    samples: Batch

    def __len__(self) -> int:
        return len(self.samples.tokens)

    def batch(self, sample_ids: Int[np.ndarray, " B"]) -> Batch:
        return _changed(self.samples, lambda part: part[sample_ids])


def _changed(batch: Batch, change: Any) -> Batch:
    parts = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return replace(batch, **{name: change(part) for name, part in parts.items() if isinstance(part, torch.Tensor)})


def read_labelled(modality: Modality, labelled: Labelled) -> ClassedSamples:
    """Read samples and their classes.

    Raises
    ------
    Dnar2maeError
        If a file cannot be used or has no classes, or a split has fewer than two of them.
    """
    parts: list[Batch] = []
    texts: list[np.ndarray] = []
    contents: list[bytes] = []
    for name, file in zip(labelled.classes or [""], labelled.files, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # texts that are longer than a row: only a part of them is used
            source = modality.read(Path(file))
        batch, kept = _chosen(source, labelled, file)
        parts.append(batch)
        contents += content_hashes(source, kept) if labelled.length is None else content_hashes(_InMemory(batch))
        texts.append(np.full(len(kept), name) if name else np.array(labels_of(source, labelled.label, file))[kept])
    if len({batch.tokens.shape[1] for batch in parts}) > 1:
        raise ConfigError("labelled samples of several files differ in length: set labelled.length")
    tensors = [field.name for field in fields(Batch) if isinstance(getattr(parts[0], field.name), torch.Tensor)]
    whole: dict[str, Any] = {name: torch.cat([getattr(part, name) for part in parts]) for name in tensors}
    joined = replace(parts[0], **whole | {"sample_ids": torch.arange(len(whole["tokens"]))})
    _, classes = np.unique(np.concatenate(texts), return_inverse=True)
    tenths = np.array([int.from_bytes(content[:8], "little") % 10 for content in contents])
    rows = ClassedSamples(joined, classes, tenths)
    if min(len(np.unique(classes[rows.split(split)])) for split in ("train", "dev", "test")) < 2:
        raise ConfigError(f"{', '.join(labelled.files)}: {len(classes)} labelled samples are too few for three splits")
    return rows


def _chosen(source: FiniteSource, labelled: Labelled, file: str) -> tuple[Batch, Int[np.ndarray, " K"]]:
    """Return samples of a file, cut to the length that is asked for, and their numbers in it."""
    most = labelled.rows // len(labelled.files)
    numbers, length = np.arange(len(source)), labelled.length
    if length is None:
        kept = _some(numbers, most)
        return source.batch(kept), kept
    whole = source.batch(numbers)
    exists = whole.exists().sum(1)
    kept = numbers[(exists >= length).numpy()]
    if not len(kept):
        raise ConfigError(f"{file}: no sample has labelled.length ({length}) tokens")
    kept = _some(kept, most)
    at = ((exists[kept] - length) // 2)[:, None] + torch.arange(length)
    cut = _changed(
        replace(whole, documents=None), lambda part: part[kept] if part.ndim != 2 else part[kept].gather(1, at)
    )
    return cut, kept


def _some(numbers: Int[np.ndarray, " N"], most: int) -> Int[np.ndarray, " K"]:
    """Return at most so many numbers, drawn alike for every run; evenly spaced ones might all be of one class."""
    return np.sort(np.random.default_rng(_SEED).permutation(numbers)[:most])


def class_columns(trained: TrainedModel, labelled: Labelled) -> list[dict[str, Any]]:
    """Return the accuracy on test samples of logistic regressions on a run's vectors, a row a column of the report.

    ``labels``: from all training samples, by the probe of protocol ``dnar2mae-v2``, which chooses among kinds of
    vectors; ``few labels``: from a few labels of each class, the mean over draws; ``missing``: from all training
    samples, with a part of each test input shown as [MASK]. Both take the last layer's vectors, since the kind that is
    chosen differs between seeds.
    """
    rows, few = read_labelled(trained.modality, labelled), labelled.labels_per_class
    train, dev, test = (rows.split(split) for split in ("train", "dev", "test"))
    vectors = _vectors(trained, rows, np.arange(len(rows.classes)), None)
    masks = min(max(_TESTED // len(test), 1), _MOST_MASKS)
    plans = [(share, _plan(trained, share, number)) for share in MISSING[1:] for number in range(masks)]
    shown = [vectors[KIND][test], *(_vectors(trained, rows, test, plan)[KIND] for _, plan in plans)]
    protocol, num_classes = load_protocol("dnar2mae-v2"), int(rows.classes.max()) + 1
    labels = rows.classes[train], rows.classes[dev]

    def scores(features: dict[str, Features]) -> list[float]:
        args = labels, num_classes, protocol.probe, protocol.select
        best = best_of({name: probe(rows, *args) for name, rows in features.items()})
        answers = best.probabilities.argmax(1).reshape(-1, len(test))
        return [_accuracy(rows.classes[test], part, num_classes) for part in answers]

    kinds = [name for name in protocol.probe.features if name in vectors]
    (from_all,) = scores({name: Features(*(vectors[name][part] for part in (train, dev, test))) for name in kinds})
    of_shown = scores({KIND: Features(vectors[KIND][train], vectors[KIND][dev], np.concatenate(shown))})
    by_share: dict[float, list[float]] = {}
    for share, score in zip([MISSING[0], *(share for share, _ in plans)], of_shown, strict=True):
        by_share.setdefault(share, []).append(score)
    return [
        _column("labels", "all", from_all),
        _column("few labels", few, _few(vectors[KIND], rows, few)),
        *(_column("missing", f"{share:g}", float(np.mean(of_share))) for share, of_share in by_share.items()),
    ]


def _column(measure: str, at: object, value: float) -> dict[str, Any]:
    return {"measure": measure, "at": str(at), "value": value, "unit": "accuracy"}


def _accuracy(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> float:
    return float(accuracy(confusion(truth, predicted, num_classes)))


def _plan(trained: TrainedModel, share: float, number: int) -> MaskPlan:
    config = trained.config
    plan = Masker(replace(config.mask, placement="independent"), trained.modality.vocabulary, 0, 1).plan(0)
    return plan.at_ratio(share, _SEED + number)


def _vectors(
    trained: TrainedModel, rows: ClassedSamples, numbers: Int[np.ndarray, " M"], plan: MaskPlan | None
) -> dict[str, Float[np.ndarray, "M _"]]:
    """Return the pooled vectors of samples by name; under a plan, of what it leaves visible."""
    source, model = _InMemory(rows.samples), trained.model
    depths, axes = pooled_layers(model.config.depth), model.layout.axes

    def pool(some: Sequence[int]) -> dict[str, torch.Tensor]:
        batch = source.batch(numbers[list(some)]).to(trained.device)
        counts = batch.maskable
        if plan is not None:
            hidden, _ = hidden_tokens(plan, batch.tokens, batch.maskable, batch.sample_ids)
            counts = counts & ~hidden
        return pool_layers(sample_layers(model, batch, depths, plan), counts, axes)

    size = max(tokens_at_once(trained.device) // rows.samples.tokens.shape[1], 1)
    starts = range(0, len(numbers), size)
    return by_name(batched(pool, [range(at, min(at + size, len(numbers))) for at in starts]), len(depths))


def _few(vectors: Float[np.ndarray, "N F"], rows: ClassedSamples, number: int) -> float:
    """Return the mean accuracy over draws of so many labels a class."""
    train, test, scores = rows.split("train"), rows.split("test"), []
    for index in range(_FEW_DRAWS):
        drawn = np.random.default_rng([_SEED, index]).permutation(train)
        kept = [drawn[rows.classes[drawn] == label][:number] for label in np.unique(rows.classes[train])]
        labelled = np.sort(np.concatenate([part for part in kept if len(part) > 1]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a class with fewer labels than folds
            predicted, _ = classify(vectors, rows.classes[labelled], labelled, test)
        scores.append(_accuracy(rows.classes[test], predicted, int(rows.classes.max()) + 1))
    return float(np.mean(scores))
