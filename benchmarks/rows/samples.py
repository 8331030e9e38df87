"""Samples of a modality as rows: images, texts, cells, and what installed packages register.

A task's ``options`` say what to read::

    modality: cell
    tasks:
      types:
        classes: [B, T, NK]
        options: {file: cells.h5ad, label: cell_type, data: {layer: counts}}

Labels are those of the files (folders of classes, a labels file or array), a column of the cells' ``obs``, or, with
``labels: FILE.csv``, the column ``label`` of a table with a row a sample. Rows go to train, dev and test (7, 1 and 2
tenths) by a hash of their content, so equal samples stay together.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int

from dnar2mae.batch import Batch, FiniteSource
from dnar2mae.benchmarks.models.checkpoint import digest
from dnar2mae.benchmarks.models.pooling import UNITS, batched, by_name, pool_layers
from dnar2mae.benchmarks.rows.contract import LabelledData, LabelledRows
from dnar2mae.benchmarks.tasks.suite import SuiteTask
from dnar2mae.config import PretrainConfig
from dnar2mae.errors import ConfigError
from dnar2mae.inference import TrainedModel, load
from dnar2mae.modalities.contract import Modality
from dnar2mae.modalities.registry import build_modality, modality_spec, preset_for
from dnar2mae.models.hidden_states import hidden_units, sample_layers, tokens_at_once
from dnar2mae.models.pooling import pooled_layers

_READ = 256  # samples hashed at once
_TENTHS = ("train",) * 7 + ("dev",) + ("test",) * 2


class Sample(NamedTuple):
    """A sample of a file, which stays on disk."""

    file: str
    number: int
    content: bytes
    """Hash of what its file has of it."""


@runtime_checkable
class StoredSamples(Protocol):
    """A source that says what its file has of a sample, where the values of a batch depend on other samples."""

    def contents(self, sample_ids: Int[np.ndarray, " B"]) -> list[bytes]:
        """Return, for each sample, bytes that are equal for equal samples."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Some samples of a source."""

    source: FiniteSource
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, sample_ids: np.ndarray) -> Batch:
        return self.source.batch(self.ids[sample_ids])


@dataclass(frozen=True, kw_only=True)
class SampleEncoder:
    """The model of a run of any modality; implements :class:`dnar2mae.benchmarks.rows.contract.RowEmbedder`."""

    trained: TrainedModel
    digest: str
    kind: str = "checkpoint"

    @property
    def num_parameters(self) -> int:
        """Return the number of weights."""
        return sum(parameter.numel() for parameter in self.trained.model.parameters())

    def embed(self, rows: Sequence[Sample]) -> Float[np.ndarray, "N D"]:
        """Return one vector a sample."""
        return self.trained.embed(self._source(rows))

    def _source(self, rows: Sequence[Sample]) -> "_Chosen":
        files = {row.file for row in rows}
        assert len(files) == 1, "a task has one file"
        source = self.trained.modality.read(Path(files.pop()))
        return _Chosen(source, np.array([row.number for row in rows]))

    def poolings(self, rows: Sequence[Sample], wanted: Collection[str]) -> dict[str, Float[np.ndarray, "N _"]]:
        """Return mean and maximum over tokens of several layers, and what is wanted of hidden units and places.

        See :func:`dnar2mae.benchmarks.models.pooling.pool_layers`; a perceptron's layers have one vector a sample.
        """
        source, model = self._source(rows), self.trained.model
        depths, axes = pooled_layers(model.config.depth), model.layout.axes

        def pool(numbers: Sequence[int]) -> dict[str, torch.Tensor]:
            batch = source.batch(np.asarray(numbers)).to(self.trained.device)
            valid = None if batch.documents is None else batch.documents >= 0
            with hidden_units(model, depths if UNITS in wanted else [], valid) as units:
                layers = sample_layers(model, batch, depths)
            return pool_layers(layers, batch.maskable, axes, units=units, wanted=wanted)

        size = max(tokens_at_once(self.trained.device) // max(model.layout.tokens, 1), 1)
        starts = range(0, len(source), size)
        pooled = batched(pool, [range(start, min(start + size, len(source))) for start in starts])
        return by_name(pooled, len(depths))

    def with_random_weights(self, seed: int) -> "SampleEncoder":
        """Return the same architecture with the initial weights of this seed."""
        return replace(self, trained=self.trained.random_like(seed), kind="random")


def _load(path: str, device: str, trust_remote_code: bool) -> SampleEncoder:
    trained = load(path, device=device)
    return SampleEncoder(trained=trained, digest=digest(trained.model))


def _file(task: SuiteTask, folder: Path) -> Path:
    if "file" not in task.options:
        raise ConfigError(f"task {task.name}: options must name a file, got {dict(task.options)}")
    file = Path(str(task.options["file"]))
    return file if file.is_absolute() else folder / file


def _open(task: SuiteTask, folder: Path) -> tuple[Modality, Any]:
    """Return the modality with the task's own settings, and the samples of its file."""
    file, options = _file(task, folder), task.options
    try:
        data = modality_spec(task.modality).data_of(file, **options.get("data", {}))
    except TypeError as error:
        raise ConfigError(f"task {task.name}: options.data does not fit {task.modality}: {error}") from error
    modality = build_modality(replace(preset_for(task.modality, PretrainConfig()), data=data))
    return modality, modality.read(file)


def _raw(task: SuiteTask, folder: Path, rows: Sequence[Sample]) -> dict[str, Any]:
    modality, source = _open(task, folder)
    numbers = np.array([row.number for row in rows])
    return {name: features[numbers] for name, features in modality.raw_features(source).items()}


def _read(task: SuiteTask, folder: Path) -> dict[str, LabelledRows]:
    file, (_, source) = _file(task, folder), _open(task, folder)
    ids = task.label_map()
    rows: dict[str, list[Sample]] = {"train": [], "dev": [], "test": []}
    labels: dict[str, list[int]] = {"train": [], "dev": [], "test": []}
    for index, (content, text) in enumerate(zip(content_hashes(source), _labels(task, source, folder), strict=True)):
        if text not in ids:
            raise ConfigError(f"{file}: sample {index + 1}: label {text!r} is not in the task's map ({', '.join(ids)})")
        # By content, not at random: equal samples share a split, and a file that grows keeps the splits of its rows.
        split = _TENTHS[int.from_bytes(content[:8], "little") % 10]
        rows[split].append(Sample(str(file), index, content))
        labels[split].append(ids[text])
    return {split: LabelledRows(rows[split], labels[split]) for split in rows}


def content_hashes(source: FiniteSource, numbers: Int[np.ndarray, " M"] | None = None) -> list[bytes]:
    """Return a hash of each sample, or of those with these numbers: of what is stored, else of tokens and values."""
    numbers = np.arange(len(source)) if numbers is None else numbers
    contents = source.contents if isinstance(source, StoredSamples) else partial(_tokens_and_values, source)
    parts = [contents(numbers[start : start + _READ]) for start in range(0, len(numbers), _READ)]
    return [hashlib.blake2b(content, digest_size=16).digest() for part in parts for content in part]


def _tokens_and_values(source: FiniteSource, numbers: Int[np.ndarray, " M"]) -> list[bytes]:
    batch = source.batch(numbers)
    parts = [part.numpy() for part in (batch.tokens, batch.values) if part is not None]
    return [b"".join(part[row].tobytes() for part in parts) for row in range(len(batch.tokens))]


def _labels(task: SuiteTask, source: Any, folder: Path) -> list[str]:
    """Return the label text of each sample."""
    file = task.options.get("labels")
    table = None if file is None else pd.read_csv(folder / str(file), dtype=str)
    return labels_of(source, str(task.options.get("label", "label")), f"task {task.name}", table)


def labels_of(source: Any, column: str, where: str, table: pd.DataFrame | None = None) -> list[str]:
    """Return the label text of each sample: of a table, or of the samples' file.

    Parameters
    ----------
    source
        Samples as :meth:`dnar2mae.modalities.contract.Modality.read` returns them.
    column
        Name of the column of labels where there are columns.
    where
        What messages begin with.
    table
        A row a sample; by default the file's own labels, column or table.

    Raises
    ------
    ConfigError
        If there are no labels, or not as many as samples.
    """
    if table is None and getattr(source, "labels", None) is not None:
        return [source.classes[number] for number in source.labels]
    if table is None and hasattr(source, "column"):
        return [str(text) for text in source.column(column)]
    table = getattr(source, "table", None) if table is None else table
    if table is None or column not in table.columns:
        has = "no table" if table is None else f"the columns {', '.join(map(str, table.columns))}"
        raise ConfigError(f"{where}: no labels: expected a column {column!r}, got {has}; see options.labels")
    if len(table) != len(source):
        raise ConfigError(f"{where}: {len(table)} labels for {len(source)} samples")
    return table[column].astype(str).tolist()


SAMPLES = LabelledData(
    find=lambda task, folder: _file(task, folder).exists(),
    read=_read,
    key=lambda row: row.content,
    load=_load,
    raw=_raw,
)
"""Rows are :class:`Sample`."""
