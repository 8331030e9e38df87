"""All rows of a task as vectors: raw, by random models, by trained ones."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dnar2mae.benchmarks.models.pooling import VECTOR
from dnar2mae.benchmarks.rows.contract import LayerEmbedder, RowEmbedder, labelled_data
from dnar2mae.benchmarks.running.cells import ModelSpec, load_encoder, recipe_digests
from dnar2mae.benchmarks.running.few_labels import FeatureSet, TaskRows
from dnar2mae.benchmarks.running.options import FewLabels, VectorKind
from dnar2mae.benchmarks.tasks.data import load_task
from dnar2mae.benchmarks.tasks.suite import SuiteTask
from dnar2mae.errors import ConfigError


def feature_sets(
    task: SuiteTask, folder: Path, models: Sequence[ModelSpec], options: FewLabels
) -> tuple[TaskRows, list[FeatureSet]]:
    """Read a task and embed its rows, train and dev first, test last.

    Models of one name are runs of one recipe, whose scores are averaged; beside each recipe stand as many models with
    random weights as the options say, in the architecture of its first run.

    Raises
    ------
    ConfigError
        If the modality has no raw features, a model not these vectors, or models of one name are no runs of one recipe.
    Dnar2maeError
        As the task's files or a model cannot be read.
    """
    data, reader = load_task(task, folder), labelled_data(task.modality)
    splits = (data.train, data.dev, data.test)
    rows = [row for split in splits for row in split.rows]
    keys = [reader.key(row) for row in rows]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    about = TaskRows(
        labels=np.concatenate([split.labels for split in splits]),
        is_test=np.arange(len(rows)) >= len(rows) - len(data.test),
        groups=np.array([numbers[key] for key in keys]),
    )
    sets = [FeatureSet(name, "raw", [vectors]) for name, vectors in reader.raw(task, folder, rows).items()]
    if not sets:
        raise ConfigError(f"task {task.name}: modality {task.modality} has no raw features to compare with")
    recipe_digests([replace(model, modality=task.modality) for model in models])
    for name in dict.fromkeys(model.name for model in models):
        encoders = [
            load_encoder(model.path, model.device, model.trust_remote_code, task.modality)
            for model in models
            if model.name == name
        ]
        random = [
            _vectors(encoders[0].with_random_weights(seed), rows, options.vectors) for seed in range(options.num_random)
        ]
        sets.append(FeatureSet(f"{name} (random weights)", "random", random))
        own = [_vectors(encoder, rows, options.vectors) for encoder in encoders]
        sets.append(FeatureSet(name, "checkpoint", own))
    return about, sets


def _vectors(encoder: RowEmbedder, rows: Sequence[Any], kind: VectorKind) -> Float[np.ndarray, "N _"]:
    if kind == VECTOR:
        return encoder.embed(rows)
    found = encoder.poolings(rows, (kind,)) if isinstance(encoder, LayerEmbedder) else {}
    if kind not in found:
        raise ConfigError(f"--vectors {kind}: this model has {', '.join(found) or VECTOR}")
    return found[kind]
