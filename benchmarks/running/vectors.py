"""Features of a task's splits: vectors of a network, raw features; the last of each stay in memory."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dnar2mae.benchmarks.models.pooling import VECTOR
from dnar2mae.benchmarks.rows.contract import LayerEmbedder, RowEmbedder, labelled_data
from dnar2mae.benchmarks.running.frozen import Features
from dnar2mae.benchmarks.running.options import SuiteOptions
from dnar2mae.benchmarks.tasks.data import TaskData

_VECTORS: dict[tuple, dict[str, Features]] = {}
"""Vectors of the last network: its other methods take them as well. They may take gigabytes: one set is kept."""
_RAW: dict[tuple, dict[str, Features]] = {}
"""Raw features of the last task."""


def network_vectors(
    encoder: RowEmbedder, wanted: Sequence[str], data: TaskData, options: SuiteOptions, seed: int
) -> dict[str, Features]:
    """Return kinds of vectors by name, in the order wanted; of a network that has none of them its vector.

    Parameters
    ----------
    encoder
        The network.
    wanted
        As in :class:`dnar2mae.benchmarks.running.protocol.ProbeSettings`.
    data, options
        Rows, and how to embed them.
    seed
        Of random weights.
    """
    kept = _kept(_VECTORS, (data.digest, encoder.digest, encoder.kind, seed, options))
    flags = {name: True for name in ("both_strands", "allow_truncation") if getattr(options, name)}
    splits = (data.train, data.dev, data.test)
    if set(wanted) - {VECTOR} - kept.keys() and isinstance(encoder, LayerEmbedder):
        parts = [encoder.poolings(split.rows, **flags) for split in splits]
        kept |= {name: Features(*(part[name] for part in parts)) for name in parts[0]}
    usable = [name for name in wanted if name == VECTOR or name in kept] or [VECTOR]
    if VECTOR in usable and VECTOR not in kept:
        kept[VECTOR] = Features(*(encoder.embed(split.rows, **flags) for split in splits))
    return {name: kept[name] for name in usable}


def raw_features(data: TaskData, *, both_strands: bool = False) -> dict[str, Features]:
    """Return the raw features of a task by name; averaged with those of the other strand if asked for."""
    kept = _kept(_RAW, (data.digest, both_strands))
    if not kept:
        reader, splits = labelled_data(data.task.modality), (data.train, data.dev, data.test)
        rows = [row for split in splits for row in split.rows]
        features: Mapping[str, Any] = reader.raw(data.task, data.folder, rows)
        if both_strands and reader.reverse is not None:
            back = reader.raw(data.task, data.folder, [reader.reverse(row) for row in rows])
            features = {name: (features[name] + back[name]) / 2 for name in features}
        ends = np.cumsum([len(split) for split in splits])
        kept |= {
            name: Features(*(item[end - len(split) : end] for end, split in zip(ends, splits, strict=True)))
            for name, item in features.items()
        }
    return kept


def raw_names(data: TaskData) -> tuple[str, ...]:
    """Return the names of a task's raw features."""
    return labelled_data(data.task.modality).raw_names or tuple(raw_features(data))


def _kept(store: dict[tuple, dict[str, Features]], key: tuple) -> dict[str, Features]:
    if key not in store:
        store.clear()
        store[key] = {}
    return store[key]
