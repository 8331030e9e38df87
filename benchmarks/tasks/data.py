"""A task's rows, split and checked against what the suite says, and test rows that occur in another split."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

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
    groups: Sequence[str] = ()
    """Rows of one group share a fold; empty where only equal rows must."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def take(self, chosen: Bool[np.ndarray, " N"]) -> "TaskSplit":
        """Return the rows where ``chosen`` is true."""
        kept = np.flatnonzero(chosen).tolist()
        groups = [self.groups[i] for i in kept] if self.groups else ()
        return TaskSplit(rows=[self.rows[i] for i in kept], labels=self.labels[kept], groups=groups)


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
    fold: "Fold | None" = None
    """Of what it is a part, where every row is tested in one of several folds."""

    @property
    def whole(self) -> "TaskData":
        """Return the data that this is a fold of, or itself."""
        return self if self.fold is None else self.fold.whole

    @property
    def rows(self) -> list[Any]:
        """Return the rows of train, dev and test, in this order."""
        return [row for split in (self.train, self.dev, self.test) for row in split.rows]

    @property
    def places(self) -> tuple[Any, Any, Any]:
        """Return where the rows of train, dev and test are among those of the whole."""
        if self.fold is not None:
            return self.fold.places
        first, second = len(self.train), len(self.train) + len(self.dev)
        return slice(0, first), slice(first, second), slice(second, None)

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


class Fold(NamedTuple):
    """A division of all rows: which fold is tested, and which of the others is dev."""

    whole: TaskData
    tested: int
    """Number of the fold that is tested."""
    places: tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"], Int[np.ndarray, " _"]]
    """Rows of train, dev and test, numbered as in ``whole.rows``."""


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
        splits[name] = TaskSplit(rows=read.rows, labels=np.array(read.labels, np.int64), groups=read.groups)
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
    return TaskData(
        task=task,
        folder=folder,
        flags=tuple(flags),
        notes=tuple(notes),
        duplicates=duplicates,
        train=splits["train"],
        dev=splits["dev"],
        test=test,
    )


def in_folds(data: TaskData, number: int) -> list[TaskData]:
    """Divide all rows of a task into folds: each is tested as often as there are others, each of which is dev once.

    What is neither is train. The divisions of one tested fold follow one another.

    Rows of a group share a fold; where rows have none, equal rows (on either strand) do. Classes have about their share
    in every fold. The division follows from the rows and the number alone.

    Raises
    ------
    ConfigError
        There are fewer groups of a class than folds, or a class has no row to learn from.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    reader, rows = labelled_data(data.task.modality), data.rows
    splits = (data.train, data.dev, data.test)
    labels = np.concatenate([split.labels for split in splits])
    named = [name for split in splits for name in split.groups]
    if named and (have := sum(map(bool, named))) < len(rows):
        raise ConfigError(f"{data.folder}: --folds: {len(rows) - have} rows have no group, and {have} have one")
    groups = named or _keys_of_both_strands(rows, reader)
    _, group = np.unique(groups, return_inverse=True)
    for label, name in enumerate(data.task.classes):
        if (have := len(np.unique(group[labels == label]))) < number:
            raise ConfigError(f"{data.folder}: --folds {number}: class {name} is in {have} groups of rows only")
    division = StratifiedGroupKFold(number, shuffle=True, random_state=0).split(labels, labels, group)
    tested = [np.sort(test) for _, test in division]

    def part(index: int, ahead: int) -> TaskData:
        held_out = tested[(index + ahead) % number], tested[index]
        places = (np.setdiff1d(np.arange(len(rows)), np.concatenate(held_out)), *held_out)
        train, dev, test = (TaskSplit(rows=[rows[i] for i in place.tolist()], labels=labels[place]) for place in places)
        _check_classes(data.task, {"train": train, "dev": dev, "test": test}, data.folder)
        copies = {"train": find_duplicates(test, train, reader), "dev": find_duplicates(test, dev, reader)}
        return replace(data, train=train, dev=dev, test=test, duplicates=copies, fold=Fold(data, index, places))

    return [part(index, ahead) for index in range(number) for ahead in range(1, number)]


def each_fold(parts: Sequence[TaskData]) -> list[TaskData]:
    """Return one division for each tested fold; data that are no folds as they are."""
    return list({part.fold and part.fold.tested: part for part in reversed(parts)}.values())[::-1]


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
    words = [hashlib.blake2b(key, digest_size=4).digest() for key in _keys_of_both_strands(rows, reader)]
    return np.frombuffer(b"".join(words), "<u4") < share * 2**32


def _keys_of_both_strands(rows: Sequence[Any], reader: LabelledData) -> list[bytes]:
    """Return the smaller key of both strands: a sequence and its reverse complement stay together."""
    return [
        min(reader.key(row), reader.key(reader.reverse(row))) if reader.reverse else reader.key(row) for row in rows
    ]


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
