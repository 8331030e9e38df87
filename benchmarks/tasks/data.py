"""A task's rows, split and checked against what the suite says, and test rows that occur in another split."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from dnar2mae.benchmarks.rows.contract import LabelledData, labelled_data
from dnar2mae.benchmarks.tasks.suite import SPLITS, Suite, SuiteTask
from dnar2mae.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskSplit:
    """Rows of one split."""

    rows: Sequence[Any]
    """What the task's modality reads: strings of upper-case A, C, G, T, N for DNA."""
    labels: Int[np.ndarray, " N"]
    """Class ids."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def take(self, chosen: Bool[np.ndarray, " N"]) -> "TaskSplit":
        """Return the rows where ``chosen`` is true."""
        kept = np.flatnonzero(chosen).tolist()
        return TaskSplit(rows=[self.rows[i] for i in kept], labels=self.labels[kept])


@dataclass(frozen=True, kw_only=True, slots=True)
class Duplicates:
    """Test rows that another split has too."""

    exact: Bool[np.ndarray, " N"]
    """Which rows occur there as they are."""
    reverse: Bool[np.ndarray, " N"]
    """Which rows occur there only as their reverse complement; none where rows have one strand."""
    opposite: Bool[np.ndarray, " N"]
    """Which exact ones have another label there."""
    distinct: int
    """Distinct rows among the exact ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskData:
    """The checked splits of a task."""

    task: SuiteTask
    folder: Path
    """Where its files are."""
    train: TaskSplit
    dev: TaskSplit
    test: TaskSplit
    flags: tuple[str, ...] = ()
    """Reasons not to compare scores with published ones."""
    notes: tuple[str, ...] = ()
    """Remarks for the reader of a report."""
    duplicates: dict[str, Duplicates] = field(default_factory=dict)
    """Test rows that the published train and dev splits have too."""

    @property
    def is_duplicate(self) -> Bool[np.ndarray, " N"]:
        """Mark the test rows that another split has too, as they are or (DNA) as their reverse complement."""
        return np.any([duplicates.exact | duplicates.reverse for duplicates in self.duplicates.values()], axis=0)

    @property
    def digest(self) -> str:
        """Return a hash of all rows, so that a result is never taken for that of other data."""
        hasher = hashlib.blake2b(digest_size=8)
        for split in (self.train, self.dev, self.test):
            hasher.update(b"\n".join(map(labelled_data(self.task.modality).key, split.rows)))
            hasher.update(split.labels.astype("<i8").tobytes())
        return hasher.hexdigest()


def find_task(suite: Suite, task: SuiteTask, root: Path) -> Path | None:
    """Return a task's folder below the data folder, ``suite.folder`` or a folder one level down; None if absent."""
    candidates = [root, root / suite.folder, *sorted(path for path in root.glob("*/") if path.is_dir())]
    for candidate in candidates:
        if labelled_data(task.modality).find(task, candidate / task.name):
            return candidate / task.name
    return None


def load_task(task: SuiteTask, folder: Path, dev_share: float = 0.1) -> TaskData:
    """Read a task, make the splits that are missing, find duplicates and deviations from official sizes.

    Without a dev split ``dev_share`` of the training rows, in (0, 1), is held out; without a training split (a partial
    copy) the dev rows are learned from and ``dev_share`` of them held out. Rows go by a hash of their content, so that
    equal rows, and a sequence and its reverse complement, stay together, in any order of the file.

    Raises
    ------
    ConfigError
        The test split, or both others, are missing; a file breaks a rule; a class has no training row.
    SequenceError
        A sequence breaks a rule.
    """
    reader = labelled_data(task.modality)
    splits: dict[str, TaskSplit] = {}
    notes: list[str] = []
    for name, read in reader.read(task, folder).items():
        splits[name] = TaskSplit(rows=read.rows, labels=np.array(read.labels, np.int64))
        notes += [f"{name}: {count} rows with {what}" for what, count in read.remarks.items()]
    if "test" not in splits or len(splits) == 1:
        raise ConfigError(f"{folder}: needs a test split and a train or dev split, got {', '.join(splits) or 'none'}")
    flags = [
        f"{name}: {len(splits.get(name, ())):,} rows, official {official:,}"
        for name, official in task.sizes.items()
        if len(splits.get(name, ())) != official
    ]
    test = splits["test"]
    duplicates: dict[str, Duplicates] = {
        name: find_duplicates(test, splits[name], reader) for name in ("train", "dev") if name in splits
    }
    if "train" not in splits:
        flags.append("no train split: learned from dev")
        splits["train"] = splits.pop("dev")
    if "dev" not in splits:
        if "dev" not in task.sizes:
            notes.append(f"dev: {dev_share:.0%} of train, by a hash of the row")
        is_dev = _share(splits["train"].rows, dev_share, reader)
        splits["train"], splits["dev"] = splits["train"].take(~is_dev), splits["train"].take(is_dev)
    notes += _check_classes(task, splits, folder)
    return TaskData(task=task, folder=folder, flags=tuple(flags), notes=tuple(notes), duplicates=duplicates, **splits)


def find_duplicates(test: TaskSplit, other: TaskSplit, reader: LabelledData) -> Duplicates:
    """Compare the rows of the test split with those of another one, by the modality's key."""
    seen: dict[bytes, set[int]] = {}
    for row, label in zip(other.rows, other.labels, strict=True):
        seen.setdefault(reader.key(row), set()).add(int(label))
    keys = [reader.key(row) for row in test.rows]
    exact = np.array([key in seen for key in keys], bool)
    reversed_too = [reader.reverse is not None and reader.key(reader.reverse(row)) in seen for row in test.rows]
    differs = [bool(seen.get(key, set()) - {int(y)}) for key, y in zip(keys, test.labels, strict=True)]
    return Duplicates(
        exact=exact,
        reverse=np.array(reversed_too, bool) & ~exact,
        opposite=np.array(differs, bool),
        distinct=len({key for key, is_exact in zip(keys, exact, strict=True) if is_exact}),
    )


def _share(rows: Sequence[Any], share: float, reader: LabelledData) -> Bool[np.ndarray, " N"]:
    # The smaller key of both strands: a sequence and its reverse complement get the same hash, hence the same split.
    keys = [
        min(reader.key(row), reader.key(reader.reverse(row))) if reader.reverse else reader.key(row) for row in rows
    ]
    words = [hashlib.blake2b(key, digest_size=4).digest() for key in keys]
    return np.frombuffer(b"".join(words), "<u4") < share * 2**32


def _check_classes(task: SuiteTask, splits: dict[str, TaskSplit], folder: Path) -> list[str]:
    """Return remarks on the classes that dev or test lacks."""
    remarks = []
    for name in SPLITS:
        absent = [task.classes[i] for i in range(len(task.classes)) if not (splits[name].labels == i).any()]
        if name == "train" and absent:
            raise ConfigError(f"{folder}: no training row of class {', '.join(absent)}")
        if not len(splits[name]):
            raise ConfigError(f"{folder}: no row is left for {name}")
        remarks += [f"{name}: no row of class {', '.join(absent)}"] if absent else []
    return remarks
