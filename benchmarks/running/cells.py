"""One cell of the table: a model, a task, a method, a seed."""

import itertools
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from dnar2mae.benchmarks.models.cnn import PAD_ID, cnn_head, pad_vectors, small_cnn, token_vectors, tokenize
from dnar2mae.benchmarks.models.encoder import Encoder, Tokens, pad
from dnar2mae.benchmarks.models.pooling import VECTOR
from dnar2mae.benchmarks.rows.contract import RowEmbedder, labelled_data
from dnar2mae.benchmarks.running.frozen import (
    FROZEN,
    Features,
    Predicted,
    best_of,
    ensemble,
    nearest,
    probe,
    probe_together,
)
from dnar2mae.benchmarks.running.options import SuiteOptions
from dnar2mae.benchmarks.running.protocol import FitSettings, Protocol
from dnar2mae.benchmarks.running.training import TokenizedRows, TrainingTask, fit, tunable
from dnar2mae.benchmarks.running.vectors import network_vectors, raw_features
from dnar2mae.benchmarks.tasks.data import TaskData, TaskSplit
from dnar2mae.benchmarks.tasks.sequences import reverse_complement
from dnar2mae.errors import ConfigError, RunError
from dnar2mae.scoring.scores import all_scores

_CNN_LENGTH_QUANTILE = 0.99
"""Share of training rows that fit the CNN whole: one very long row must not set the size of its dense layer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """A model by name, so that a worker process can read it."""

    name: str
    kind: str
    """checkpoint, huggingface, random (the control of the model in ``path``), raw, combined (raw beside the vectors of
    the model in ``path``) or cnn."""
    path: str = ""
    device: str = "auto"
    trust_remote_code: bool = False
    modality: str = "dna"
    """What it embeds; see :mod:`dnar2mae.benchmarks.rows.contract`."""
    raw: str = ""
    """Which raw features, of kinds raw and combined."""
    recipe: str = ""
    """Name of the model that it is a control of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkCell:
    """A model, a method and a seed."""

    model: ModelSpec
    method: str
    """probe, knn, cnn-head, finetune, lora, or scratch (the CNN)."""
    seed: int
    protocol: Protocol
    options: SuiteOptions = SuiteOptions()
    """Strands, truncation and precision, which are the same for all cells."""
    lr: float | None = None
    """Learning rate that the first seed, or run, has chosen; None searches."""
    of_runs: int = 1
    """How many runs of the model's recipe are judged."""
    rate_of: str = ""
    """The first run of the recipe, by its path, if this is another."""

    @property
    def is_seeded(self) -> bool:
        """Whether the result depends on the seed: that of frozen pretrained vectors and of counts does not."""
        return self.method not in FROZEN or self.model.kind == "random"


@lru_cache(maxsize=2)
def load_encoder(path: str, device: str, trust_remote_code: bool, modality: str = "dna") -> RowEmbedder:
    """Read a checkpoint or a Hugging Face folder; the last two stay in memory.

    Raises
    ------
    RunError
        It cannot be read.
    """
    if not Path(path).is_dir():
        raise RunError(f"{path}: no such folder; give a run, one of its checkpoints, or a Hugging Face folder")
    return labelled_data(modality).load(path, device, trust_remote_code)


class Tested(NamedTuple):
    """Test rows, in the order of the files, and what a cell says of them."""

    row: dict[str, Any]
    """Scores, the value and setting chosen on dev, notes and seconds."""
    labels: Int[np.ndarray, " N"]
    """True classes."""
    probabilities: Float[np.ndarray, "N C"]
    """Class probabilities."""
    is_duplicate: Bool[np.ndarray, " N"]
    """Rows that another split of their fold has too."""


def recipe_digests(models: Sequence[ModelSpec]) -> dict[str, str]:
    """Return a hash of the weights of each model by its path.

    Raises
    ------
    ConfigError
        Models of one name are no runs of one recipe: they differ in size, or two have the same weights.
    RunError
        A model cannot be read.
    """
    digests: dict[str, str] = {}
    of_name: dict[str, dict[str, tuple[str, int]]] = {}
    for spec in models:
        encoder = load_encoder(spec.path, spec.device, spec.trust_remote_code, spec.modality)
        digests[spec.path] = encoder.digest
        known = of_name.setdefault(spec.name, {})
        if encoder.digest in known:
            raise ConfigError(
                f"--model: {spec.path} has the weights of {known[encoder.digest][0]}, another {spec.name}"
            )
        for path, size in known.values():
            if size != encoder.num_parameters:
                raise ConfigError(
                    f"--model: {spec.path} has {encoder.num_parameters:,} parameters, {path} {size:,}; what has one "
                    f"name ({spec.name}) must be runs of one recipe"
                )
        known[encoder.digest] = spec.path, encoder.num_parameters
    return digests


def run_cell(cell: BenchmarkCell, parts: Sequence[TaskData]) -> Tested:
    """Learn, choose on dev, predict the test rows once, score them.

    Parameters
    ----------
    cell
        What to run.
    parts
        A task's data, or its division into folds; rows of all folds are scored together, each by the mean of the
        probabilities that it was given.

    Raises
    ------
    Dnar2maeError
        The model cannot be read or does not fit the data.
    """
    start, cpu_start = time.perf_counter(), time.process_time()
    data = parts[0].whole
    encoder = _encoder(cell, data) if cell.model.path else None
    judged = [_scratch(cell, part) if cell.model.kind == "cnn" else _judged(encoder, cell, part) for part in parts]
    predicted, parameters = [answers for answers, _ in judged], judged[0][1]
    probabilities = _mean_by_row(parts, [answers.probabilities for answers in predicted])
    labels = _mean_by_row(parts, [part.test.labels for part in parts]).astype(np.int64)
    is_duplicate = _mean_by_row(parts, [part.is_duplicate for part in parts]).astype(bool)
    if not np.isfinite(probabilities).all():
        raise RunError(f"{cell.model.name}: method {cell.method} gives no finite probabilities; it has diverged")
    kept = ~is_duplicate
    scores = all_scores(labels, probabilities)
    filtered = all_scores(labels[kept], probabilities[kept]) if kept.any() else {}
    row = {
        "status": "done",
        "scores": {name: None if math.isnan(value) else value for name, value in scores.items()},
        "filtered": {data.task.metric: filtered.get(data.task.metric)},
        "dev": float(np.mean([answers.dev for answers in predicted])),
        "chosen": _chosen([answers.setting for answers in predicted]),
        "num_parameters": parameters,
        "notes": [*data.notes, *_notes(encoder, data), *_of_folds([answers.notes for answers in predicted])],
        "seconds": round(time.perf_counter() - start, 2),
        "cpu_seconds": round(time.process_time() - cpu_start, 2),
    }
    assert probabilities.shape == (len(labels), len(data.task.classes))
    return Tested(row, labels, probabilities, is_duplicate)


def _mean_by_row(parts: Sequence[TaskData], answers: Sequence[np.ndarray]) -> np.ndarray:
    """Return an array of all tested rows from one of each part; of folds the mean of each row, in the files' order."""
    joined = np.concatenate(answers)
    if parts[0].fold is None:
        return joined
    place = np.concatenate([part.places[2] for part in parts])
    by_row = joined[np.argsort(place, kind="stable")]
    return by_row.reshape(len(parts[0].whole.rows), -1, *joined.shape[1:]).mean(1)


def _chosen(settings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the setting; of folds the different values, one after the other, as ``0.01 (16), 0.1 (4)``."""
    if len(settings) == 1:
        return settings[0]
    counts = {name: Counter(str(setting[name]) for setting in settings) for name in settings[0]}
    return {name: ", ".join(f"{value} ({n})" for value, n in c.most_common()) for name, c in counts.items()}


def _of_folds(notes: Sequence[Sequence[str]]) -> list[str]:
    """Return each remark once, with the number of fits that it is about."""
    if len(notes) == 1:
        return list(notes[0])
    return [f"{note} ({n} of {len(notes)} fits)" for note, n in Counter(itertools.chain(*notes)).items()]


def _encoder(cell: BenchmarkCell, data: TaskData) -> RowEmbedder:
    spec = cell.model
    encoder = load_encoder(spec.path, spec.device, spec.trust_remote_code, spec.modality)
    if isinstance(encoder, Encoder):
        settings, limit = cell.protocol.settings(cell.method, data.task.name), encoder.context_tokens
        # the protocol may cap the context for this kind of tokens
        if cell.method not in FROZEN and settings.max_tokens and settings.tokenization == encoder.tokenization:
            limit = min(settings.max_tokens, limit or settings.max_tokens)
        encoder = replace(encoder, context_tokens=limit, precision=cell.options.precision)
    # after the cap, which both share
    return encoder.with_random_weights(cell.seed) if spec.kind == "random" else encoder


def _judged(encoder: RowEmbedder | None, cell: BenchmarkCell, data: TaskData) -> tuple[Predicted, int]:
    """Return the answers of a method on a network's vectors, raw features or both, and the number of parameters."""
    if encoder is None:
        features = _raw(cell, data)
        fits = _probes(cell, data, {cell.model.raw: features}, cell.model.raw)
        return best_of(fits), features.train.shape[1]
    parameters = encoder.num_parameters
    if cell.model.kind == "combined":
        return _combined(encoder, cell, data), parameters
    if cell.method in FROZEN:
        return _frozen(encoder, cell, data), parameters
    if isinstance(encoder, Encoder):
        return _tuned(encoder, cell, data), parameters
    raise ConfigError(
        f"{cell.model.name}: method {cell.method} needs an encoder of tokens; {cell.model.modality} has probe and knn"
    )


def _frozen(encoder: RowEmbedder, cell: BenchmarkCell, data: TaskData) -> Predicted:
    task = _task(cell, data, cell.method)
    wanted = task[2].features if cell.method == "probe" else (VECTOR,)
    vectors = _vectors(encoder, wanted, cell, data)
    if cell.method == "probe":
        return _together(_probes(cell, data, vectors, (encoder.digest, encoder.kind, cell.seed)), cell, data)
    return nearest(vectors[VECTOR], *task)


def _task(cell: BenchmarkCell, data: TaskData, method: str) -> tuple[Any, int, Any, str]:
    """Return what a fit needs besides its features: labels, number of classes, settings, and what decides on dev."""
    settings = cell.protocol.settings(method, data.task.name)
    select = getattr(settings, "select", None) or cell.protocol.select
    return (data.train.labels, data.dev.labels), len(data.task.classes), settings, select


def _vectors(encoder: RowEmbedder, wanted: Sequence[str], cell: BenchmarkCell, data: TaskData) -> dict[str, Features]:
    vectors = network_vectors(encoder, wanted, data, cell.options, cell.seed)
    for name, features in vectors.items():
        # a sum has no array of its own beside vectors of gigabytes
        if not all(np.isfinite(part.sum(dtype=np.float64)) for part in features):
            raise RunError(f"{cell.model.name}: its vectors ({name}) are not finite: its training has diverged")
    return vectors


def _raw(cell: BenchmarkCell, data: TaskData) -> Features:
    return raw_features(data, both_strands=cell.options.both_strands)[cell.model.raw]


def _combined(encoder: RowEmbedder, cell: BenchmarkCell, data: TaskData) -> Predicted:
    """Return the probe of raw features beside a model's vectors.

    It is an ensemble of both where the protocol has ensembles, else one fit on raw features and the vectors that are
    the best alone, each scaled by its penalty.
    """
    task = _task(cell, data, "probe")
    vectors = _vectors(encoder, task[2].features, cell, data)
    of_raw = _probes(cell, data, {cell.model.raw: _raw(cell, data)}, cell.model.raw)
    of_vectors = _probes(cell, data, vectors, (encoder.digest, encoder.kind, cell.seed))
    if task[2].ensemble:
        return _together(of_raw | of_vectors, cell, data)
    alone, own = best_of(of_raw), best_of(of_vectors)
    name = own.setting.get("features", next(iter(vectors)))
    penalties = alone.setting["c"], own.setting["c"]
    blocks = list(zip((_raw(cell, data), vectors[name]), penalties, strict=True))
    together = probe_together(blocks, *task)
    return together._replace(
        setting={"features": name, "c": together.setting["c"], "c_raw": penalties[0], "c_vectors": penalties[1]}
    )


_PROBED: dict[tuple, dict[str, Predicted]] = {}
"""Probes of the last task, which the rows of combined features take as well."""


def _together(fits: Mapping[str, Predicted], cell: BenchmarkCell, data: TaskData) -> Predicted:
    """Return the ensemble of probes, or the best one, as the protocol says."""
    (_, of_dev), _, settings, _ = _task(cell, data, "probe")
    return ensemble(fits, of_dev, settings.ensemble) if settings.ensemble else best_of(fits)


def _probes(cell: BenchmarkCell, data: TaskData, candidates: Mapping[str, Features], of: Any) -> dict[str, Predicted]:
    """Return the probe of each kind of features, at its best penalty; ``of`` says what the features are of."""
    task, digest = _task(cell, data, "probe"), data.whole.digest
    key = (digest, data.digest, of, *task[2:], cell.options)
    if key not in _PROBED:
        if any(known[0] != digest for known in _PROBED):
            _PROBED.clear()
        _PROBED[key] = {name: probe(features, *task) for name, features in candidates.items()}
    return _PROBED[key]


def _tuned(encoder: Encoder, cell: BenchmarkCell, data: TaskData) -> Predicted:
    settings = cell.protocol.settings(cell.method, data.task.name)

    def tokens(sequences: list[str]) -> list[Tokens]:
        return encoder.tokens(sequences, allow_truncation=cell.options.allow_truncation)

    if cell.method == "cnn-head":
        collate = partial(pad_vectors, device=encoder.device)
        problem = _problem(cell, data, lambda sequences: token_vectors(encoder, tokens(sequences)), collate)
        return _searched(partial(cnn_head, encoder, problem.num_classes), problem, settings, cell)
    problem = _problem(cell, data, tokens, encoder.collate)

    def make(seed: int) -> torch.nn.Module:
        return tunable(encoder, problem.num_classes, settings, lora=cell.method == "lora", seed=seed)

    return _searched(make, problem, settings, cell)


def _scratch(cell: BenchmarkCell, data: TaskData) -> tuple[Predicted, int]:
    lengths = [len(sequence) for sequence in data.train.rows]
    length_bp = int(np.quantile(lengths, _CNN_LENGTH_QUANTILE, method="higher"))
    problem = _problem(cell, data, lambda sequences: [tokenize(s) for s in sequences], partial(pad, pad_id=PAD_ID))
    make = partial(small_cnn, length_bp, problem.num_classes)
    predicted = _searched(make, problem, cell.protocol.settings("cnn", data.task.name), cell)
    return predicted, sum(p.numel() for p in make(0).parameters())


def _searched(make: Any, problem: TrainingTask, settings: FitSettings, cell: BenchmarkCell) -> Predicted:
    """Try every learning rate, or the one that the first seed has chosen; equal values go to the smaller rate."""
    rates = sorted(settings.lr) if cell.lr is None else [cell.lr]
    return max((fit(make, problem, settings, cell.seed, lr) for lr in rates), key=lambda fitted: fitted.dev)


def _problem(cell: BenchmarkCell, data: TaskData, tokens: Any, collate: Any) -> TrainingTask:
    def rows(split: TaskSplit, averaged: bool = cell.options.both_strands) -> TokenizedRows:
        reverse = tokens([reverse_complement(s) for s in split.rows]) if averaged else None
        return TokenizedRows(tokens(split.rows), split.labels, reverse)

    splits = rows(data.train, False), rows(data.dev), rows(data.test)
    return TrainingTask(*splits, len(data.task.classes), collate, cell.protocol.select)


def _notes(encoder: RowEmbedder | None, data: TaskData) -> list[str]:
    if not isinstance(encoder, Encoder):
        return []
    notes = []
    window_bp, limit = encoder.window_bp, encoder.context_tokens
    if window_bp and (longer := sum(len(sequence) > window_bp for sequence in data.test.rows)):
        notes.append(f"{longer:,} test sequences are longer than the {window_bp} bp windows of pretraining")
    if limit and (cut := sum(len(encoder.tokenize(sequence).ids) > limit for sequence in data.test.rows)):
        notes.append(f"{cut:,} test sequences were cut to the context of {limit} tokens")
    return notes


def cell_identity(cell: BenchmarkCell, suite: str, task: str, digests: Mapping[str, str]) -> dict[str, Any]:
    """Return what a stored result must agree with to count as this cell's."""
    method = "cnn" if cell.method == "scratch" else cell.method
    settings = asdict(cell.protocol.settings(method, task)) | {"select": cell.protocol.select}
    settings |= {"allow_truncation": cell.options.allow_truncation, "precision": cell.options.precision}
    settings |= {} if cell.options.folds is None else {"folds": cell.options.folds}  # as results of before had none
    return {
        "suite": suite,
        "task": task,
        "model": cell.model.name,
        "kind": cell.model.kind,
        "method": cell.method,
        "seed": cell.seed,
        "protocol": cell.protocol.name,
        "both_strands": cell.options.both_strands,
        # as after a round trip through JSON: lists in place of tuples
        "settings": {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()},
        "path": cell.model.path,
        "recipe": cell.model.recipe or (cell.model.name if cell.model.path else ""),
        "of_runs": cell.of_runs,
        **digests,
    }
