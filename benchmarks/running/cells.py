"""One cell of the table: a model, a task, a method, a seed."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dnar2mae.benchmarks.models.cnn import PAD_ID, small_cnn, tokenize
from dnar2mae.benchmarks.models.encoder import Encoder, Tokens, pad
from dnar2mae.benchmarks.models.kmers import MAX_K, kmer_counts
from dnar2mae.benchmarks.rows.contract import RowEmbedder, labelled_data
from dnar2mae.benchmarks.running.frozen import FROZEN, Features, Predicted
from dnar2mae.benchmarks.running.options import SuiteOptions
from dnar2mae.benchmarks.running.protocol import FitSettings, Protocol
from dnar2mae.benchmarks.running.training import TokenizedRows, TrainingTask, fit, tunable
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
    """checkpoint, huggingface, random (the control of the model in ``path``), kmer or cnn."""
    path: str = ""
    device: str = "auto"
    trust_remote_code: bool = False
    modality: str = "dna"
    """What it embeds; see :mod:`dnar2mae.benchmarks.rows.contract`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkCell:
    """A model, a method and a seed."""

    model: ModelSpec
    method: str
    """probe, knn, finetune, lora, or scratch (the CNN)."""
    seed: int
    protocol: Protocol
    options: SuiteOptions = SuiteOptions()
    """Strands, truncation and precision, which are the same for all cells."""
    lr: float | None = None
    """Learning rate that the first seed has chosen; None searches."""

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


def run_cell(cell: BenchmarkCell, data: TaskData) -> tuple[dict[str, Any], np.ndarray]:
    """Learn, choose on dev, predict the test rows once, score them.

    Returns
    -------
    row
        Scores, the value and setting chosen on dev, notes and seconds.
    probabilities
        ``[N, C]`` class probabilities of the test rows.

    Raises
    ------
    Dnar2maeError
        The model cannot be read or does not fit the data.
    """
    start, cpu_start = time.perf_counter(), time.process_time()
    spec, num_classes = cell.model, len(data.task.classes)
    encoder = None
    if spec.kind in ("kmer", "cnn"):
        predicted, parameters = _baseline(cell, data)
    else:
        encoder = load_encoder(spec.path, spec.device, spec.trust_remote_code, spec.modality)
        if isinstance(encoder, Encoder):
            encoder = replace(_limited(encoder, cell, data), precision=cell.options.precision)
        if spec.kind == "random":
            encoder = encoder.with_random_weights(cell.seed)  # after the cap, which both share
        parameters = encoder.num_parameters
        if cell.method in FROZEN:
            predicted = _frozen(cell, data, _vectors(encoder, cell, data))
        elif isinstance(encoder, Encoder):
            predicted = _tuned(encoder, cell, data)
        else:
            raise ConfigError(
                f"{spec.name}: method {cell.method} needs an encoder of tokens; {spec.modality} has probe and knn"
            )
    labels, probabilities = data.test.labels, predicted.probabilities
    kept = ~data.is_duplicate
    scores = all_scores(labels, probabilities)
    filtered = all_scores(labels[kept], probabilities[kept]) if kept.any() else {}
    row = {
        "status": "done",
        "scores": {name: None if math.isnan(value) else value for name, value in scores.items()},
        "filtered": {data.task.metric: filtered.get(data.task.metric)},
        "dev": predicted.dev,
        "chosen": predicted.setting,
        "num_parameters": parameters,
        "notes": [*data.notes, *_notes(encoder, data)],
        "seconds": round(time.perf_counter() - start, 2),
        "cpu_seconds": round(time.process_time() - cpu_start, 2),
    }
    assert probabilities.shape == (len(labels), num_classes)
    return row, probabilities


def _frozen(cell: BenchmarkCell, data: TaskData, features: Features) -> Predicted:
    settings = cell.protocol.settings(cell.method, data.task.name)
    labels = (data.train.labels, data.dev.labels)
    return FROZEN[cell.method](features, labels, len(data.task.classes), settings, cell.protocol.select)


_VECTORS: dict[tuple, Features] = {}
"""Vectors of the last cell with frozen ones: its other methods take them as well."""


def _vectors(encoder: RowEmbedder, cell: BenchmarkCell, data: TaskData) -> Features:
    key = (data.digest, encoder.digest, encoder.kind, cell.seed, cell.options)
    if key not in _VECTORS:
        options = {name: True for name in ("both_strands", "allow_truncation") if getattr(cell.options, name)}
        splits = (data.train, data.dev, data.test)
        features = Features(*(encoder.embed(split.rows, **options) for split in splits))
        _VECTORS.clear()  # vectors may take gigabytes: keep one set
        _VECTORS[key] = features
    return _VECTORS[key]


def _limited(encoder: Encoder, cell: BenchmarkCell, data: TaskData) -> Encoder:
    """Cap the context where the protocol does so for this kind of tokens."""
    settings = cell.protocol.settings(cell.method, data.task.name)
    if cell.method in FROZEN or settings.max_tokens is None or settings.tokenization != encoder.tokenization:
        return encoder
    return replace(encoder, context_tokens=min(settings.max_tokens, encoder.context_tokens or settings.max_tokens))


def _tuned(encoder: Encoder, cell: BenchmarkCell, data: TaskData) -> Predicted:
    settings = cell.protocol.settings(cell.method, data.task.name)

    def tokens(sequences: list[str]) -> list[Tokens]:
        return encoder.tokens(sequences, allow_truncation=cell.options.allow_truncation)

    problem = _problem(cell, data, tokens, encoder.collate)

    def make(seed: int) -> torch.nn.Module:
        return tunable(encoder, problem.num_classes, settings, lora=cell.method == "lora", seed=seed)

    return _searched(make, problem, settings, cell)


def _baseline(cell: BenchmarkCell, data: TaskData) -> tuple[Predicted, int]:
    splits = (data.train, data.dev, data.test)
    if cell.model.kind == "kmer":
        features = Features(*(kmer_counts(split.rows, both_strands=cell.options.both_strands) for split in splits))
        return _frozen(cell, data, features), sum(4**k for k in range(1, MAX_K + 1))
    lengths = [len(sequence) for sequence in data.train.rows]
    length_bp = int(np.quantile(lengths, _CNN_LENGTH_QUANTILE, method="higher"))
    problem = _problem(cell, data, lambda sequences: [tokenize(s) for s in sequences], lambda t: pad(t, PAD_ID))
    settings = cell.protocol.settings("cnn", data.task.name)

    def make(seed: int) -> torch.nn.Module:
        return small_cnn(length_bp, problem.num_classes, seed)

    return _searched(make, problem, settings, cell), sum(p.numel() for p in make(0).parameters())


def _searched(make: Any, problem: TrainingTask, settings: FitSettings, cell: BenchmarkCell) -> Predicted:
    """Try every learning rate, or the one that the first seed has chosen; equal values go to the smaller rate."""
    rates = sorted(settings.lr) if cell.lr is None else [cell.lr]
    return max((fit(make, problem, settings, cell.seed, lr) for lr in rates), key=lambda fitted: fitted.dev)


def _problem(cell: BenchmarkCell, data: TaskData, tokens: Any, collate: Any) -> TrainingTask:
    def rows(split: TaskSplit, averaged: bool) -> TokenizedRows:
        reverse = tokens([reverse_complement(s) for s in split.rows]) if averaged else None
        return TokenizedRows(tokens(split.rows), split.labels, reverse)

    return TrainingTask(
        train=rows(data.train, False),
        dev=rows(data.dev, cell.options.both_strands),
        test=rows(data.test, cell.options.both_strands),
        num_classes=len(data.task.classes),
        collate=collate,
        select=cell.protocol.select,
    )


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
    return {
        "suite": suite,
        "task": task,
        "model": cell.model.name,
        "kind": cell.model.kind,
        "method": cell.method,
        "seed": cell.seed,
        "protocol": cell.protocol.name,
        "both_strands": cell.options.both_strands,
        "settings": _plain(settings),
        **digests,
    }


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as they are after a round trip through JSON: lists in place of tuples."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}
