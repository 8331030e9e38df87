"""A modality with rows of its own in the benchmarks: those of an npz file, embedded by a matrix."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dnar2mae.benchmarks.rows.contract import LabelledData, LabelledRows
from dnar2mae.modalities.registry import ModalitySpec


@dataclass(frozen=True, kw_only=True)
class Projection:
    matrix: np.ndarray
    kind: str = "checkpoint"

    @property
    def digest(self):
        return self.matrix.tobytes().hex()

    @property
    def num_parameters(self):
        return self.matrix.size

    def embed(self, rows):
        return np.stack(rows) @ self.matrix

    def with_random_weights(self, seed):
        drawn = np.random.default_rng(seed).normal(size=self.matrix.shape).astype(np.float32)
        return replace(self, matrix=drawn, kind="random")


def read(task, folder):
    arrays = np.load(folder / task.options["file"])
    ids = task.label_map()
    splits = [split for split in ("train", "dev", "test") if split in arrays]
    return {
        split: LabelledRows(list(arrays[split]), [ids[str(y)] for y in arrays[f"{split}_labels"]]) for split in splits
    }


ARRAYS = LabelledData(
    find=lambda task, folder: (folder / task.options["file"]).is_file(),
    read=read,
    key=lambda row: row.tobytes(),
    load=lambda path, device, trust_remote_code: Projection(matrix=np.load(Path(path) / "matrix.npy")),
    raw=lambda task, folder, rows: {"numbers": np.stack(rows), "first two": np.stack(rows)[:, :2]},
)


@dataclass(frozen=True)
class ArrayConfig:
    file: str = ""


SPEC = ModalitySpec(config=ArrayConfig, modality="none:None", paths="file", benchmark="tests.benchmarks.arrays:ARRAYS")
