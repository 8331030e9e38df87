"""A task's rows, split and checked against what the suite says."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from dnar2mae.benchmarks.tasks.sequences import Duplicates, canonical, find_duplicates
from dnar2mae.benchmarks.tasks.suite import Suite, Task
from dnar2mae.benchmarks.tasks.tables import find_split, read_split
from dnar2mae.errors import ConfigError

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Rows of one split."""

    sequences: list[str]
    """Upper-case A, C, G, T, N."""
    labels: Int[np.ndarray, " N"]
    """Class ids."""

    def __len__(self) -> int:
        """Give the number of rows."""
        return len(self.sequences)

    def take(self, chosen: Bool[np.ndarray, " N"]) -> "Split":
        """Rows where ``chosen`` is true."""
        kept = np.flatnonzero(chosen)
        return Split(sequences=[self.sequences[i] for i in kept], labels=self.labels[kept])


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskData:
    """Everything that a model is judged on."""

    task: Task
    train: Split
    dev: Split
    test: Split
    flags: tuple[str, ...] = ()
    """What keeps scores from being compared with published ones."""
    notes: tuple[str, ...] = ()
    """What a reader should know."""
    duplicates: dict[str, Duplicates] = field(default_factory=dict)
    """Test rows that the published train and dev splits hold too."""

    @property
    def is_duplicate(self) -> Bool[np.ndarray, " N"]:
        """Which test rows another split holds, as they are or as their reverse complement."""
        return np.any([found.exact | found.reverse for found in self.duplicates.values()], axis=0)

    @property
    def digest(self) -> str:
        """Hash of all rows, so that a result is never taken for that of other data."""
        hasher = hashlib.blake2b(digest_size=8)
        for split in (self.train, self.dev, self.test):
            hasher.update("\n".join(split.sequences).encode())
            hasher.update(split.labels.astype("<i8").tobytes())
        return hasher.hexdigest()


def find_task(suite: Suite, task: Task, root: Path) -> Path | None:
    """Folder of a task below the data folder, its ``suite.folder`` or that of one level down; None if absent."""
    places = [root, root / suite.folder, *sorted(path for path in root.glob("*/") if path.is_dir())]
    for place in places:
        if find_split(place / task.name, "test"):
            return place / task.name
    return None


def load_task(task: Task, folder: Path, dev_share: float = 0.1) -> TaskData:
    """Read a task, make the splits that are missing, find duplicates and deviations from official sizes.

    Without a dev split ``dev_share`` of the training rows is held out; without a training split (a partial copy)
    the dev rows are learned from and ``dev_share`` of them held out. Rows go by a hash of their sequence, so that
    equal sequences, and a sequence and its reverse complement, stay together, in any order of the file.

    Parameters
    ----------
    task
        What the suite says.
    folder
        Its folder.
    dev_share
        Share of rows held out where a split is missing, in (0, 1).

    Raises
    ------
    ConfigError
        The test split, or both others, are missing; a file breaks a rule; a class has no training row.
    SequenceError
        A sequence breaks a rule.
    """
    found: dict[str, Split] = {}
    notes: list[str] = []
    for name in SPLITS:
        if paths := find_split(folder, name):
            sequences, labels, remarks = read_split(paths, task.label_map())
            found[name] = Split(sequences=sequences, labels=np.array(labels, np.int64))
            notes += [f"{name}: {count} rows with {what}" for what, count in remarks.items()]
    if "test" not in found or len(found) == 1:
        raise ConfigError(f"{folder}: needs a test split and a train or dev split, found {', '.join(found) or 'none'}")
    flags = [
        f"{name}: {len(found.get(name, ())):,} rows, official {official:,}"
        for name, official in task.sizes.items()
        if len(found.get(name, ())) != official
    ]
    test = found["test"]
    duplicates: dict[str, Duplicates] = {
        name: find_duplicates(test.sequences, test.labels, found[name].sequences, found[name].labels)
        for name in ("train", "dev")
        if name in found
    }
    if "train" not in found:
        flags.append("no train split: learned from dev")
        found["train"] = found.pop("dev")
    if "dev" not in found:
        if "dev" not in task.sizes:
            notes.append(f"dev: {dev_share:.0%} of train, by a hash of the sequence")
        is_dev = _share(found["train"].sequences, dev_share)
        found["train"], found["dev"] = found["train"].take(~is_dev), found["train"].take(is_dev)
    _check_classes(task, found, folder)
    return TaskData(task=task, flags=tuple(flags), notes=tuple(notes), duplicates=duplicates, **found)


def _share(sequences: Sequence[str], share: float) -> Bool[np.ndarray, " N"]:
    words = [hashlib.blake2b(canonical(s).encode(), digest_size=4).digest() for s in sequences]
    return np.frombuffer(b"".join(words), "<u4") < share * 2**32


def _check_classes(task: Task, found: dict[str, Split], folder: Path) -> None:
    for name in ("train", "dev"):
        absent = [task.classes[i] for i in range(len(task.classes)) if not (found[name].labels == i).any()]
        if name == "train" and absent:
            raise ConfigError(f"{folder}: no training row of class {', '.join(absent)}")
        if not len(found[name]):
            raise ConfigError(f"{folder}: no row is left for {name}")
