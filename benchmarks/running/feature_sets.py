"""All rows of a task as vectors: raw, by random models, by trained ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dnar2mae.benchmarks.rows.contract import labelled_data
from dnar2mae.benchmarks.running.cells import ModelSpec, load_encoder
from dnar2mae.benchmarks.running.few_labels import FeatureSet, TaskRows
from dnar2mae.benchmarks.tasks.data import load_task
from dnar2mae.benchmarks.tasks.suite import SuiteTask
from dnar2mae.errors import ConfigError


def feature_sets(
    task: SuiteTask, folder: Path, models: Sequence[ModelSpec], num_random: int
) -> tuple[TaskRows, list[FeatureSet]]:
    """Read a task and embed its rows, train and dev first, test last.

    Models of one name are runs of one recipe, whose scores are averaged; beside each recipe stand ``num_random`` models
    with random weights in the architecture of its first run.

    Raises
    ------
    ConfigError
        If the modality has no raw features.
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
    for name in dict.fromkeys(model.name for model in models):
        encoders = [
            load_encoder(model.path, model.device, model.trust_remote_code, task.modality)
            for model in models
            if model.name == name
        ]
        random = [encoders[0].with_random_weights(seed).embed(rows) for seed in range(num_random)]
        sets.append(FeatureSet(f"{name} (random weights)", "random", random))
        sets.append(FeatureSet(name, "checkpoint", [encoder.embed(rows) for encoder in encoders]))
    return about, sets
