"""Features of a task's splits: vectors of a network, raw features; the last of each stay in memory."""

from collections.abc import Mapping, Sequence
from typing import Any

from dnar2mae.benchmarks.models.pooling import VECTOR
from dnar2mae.benchmarks.rows.contract import LayerEmbedder, RowEmbedder, labelled_data
from dnar2mae.benchmarks.running.frozen import Features
from dnar2mae.benchmarks.running.options import SuiteOptions
from dnar2mae.benchmarks.tasks.data import TaskData

_VECTORS: dict[tuple, dict[str, Any]] = {}
"""Vectors of all rows by the last network, None for kinds that it has not: its other methods and folds take them as
well. They may take gigabytes: one set is kept."""
_RAW: dict[tuple, dict[str, Any]] = {}
"""Raw features of all rows of the last task."""


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
    kept = _kept(_VECTORS, (data.whole.digest, encoder.digest, encoder.kind, seed, options))
    flags = {name: True for name in ("both_strands", "allow_truncation") if getattr(options, name)}
    missing = set(wanted) - {VECTOR} - kept.keys()
    if missing and isinstance(encoder, LayerEmbedder):
        kept |= dict.fromkeys(missing) | encoder.poolings(data.whole.rows, missing, **flags)
    usable = [name for name in wanted if name == VECTOR or kept.get(name) is not None] or [VECTOR]
    if VECTOR in usable and VECTOR not in kept:
        kept[VECTOR] = encoder.embed(data.whole.rows, **flags)
    return {name: _of_splits(kept[name], data) for name in usable}


def _of_splits(vectors: Any, data: TaskData) -> Features:
    return Features(*(vectors[place] for place in data.places))


def raw_features(data: TaskData, *, both_strands: bool = False) -> dict[str, Features]:
    """Return the raw features of a task by name; averaged with those of the other strand if asked for."""
    kept = _kept(_RAW, (data.whole.digest, both_strands))
    if not kept:
        reader, rows = labelled_data(data.task.modality), data.whole.rows
        features: Mapping[str, Any] = reader.raw(data.task, data.folder, rows)
        if both_strands and reader.reverse is not None:
            back = reader.raw(data.task, data.folder, [reader.reverse(row) for row in rows])
            features = {name: (features[name] + back[name]) / 2 for name in features}
        kept |= features
    return {name: _of_splits(item, data) for name, item in kept.items()}


def raw_names(data: TaskData) -> tuple[str, ...]:
    """Return the names of a task's raw features."""
    return labelled_data(data.task.modality).raw_names or tuple(raw_features(data))


def _kept(store: dict[tuple, dict[str, Any]], key: tuple) -> dict[str, Any]:
    if key not in store:
        store.clear()
        store[key] = {}
    return store[key]
