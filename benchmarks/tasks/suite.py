"""Suites as data: tasks with their metric, classes, label map and official sizes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dnar2mae.errors import ConfigError, raising
from dnar2mae.modalities.registry import modality_names
from dnar2mae.run.config_file import read_yaml, structured

PACKAGED = Path(__file__).parents[1] / "suites"
CUSTOM_FILE = "suite.yaml"
SPLITS = ("train", "dev", "test")
METRICS = ("mcc", "macro_f1", "f1", "accuracy", "auroc", "auprc")


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteTask:
    """One classification data set."""

    name: str
    """Folder of the data set below the suite's, as ``tf/0``."""
    group: str = ""
    """Heading in reports."""
    metric: str = "mcc"
    """Official score: mcc, macro_f1, f1 (of the last class), accuracy, auroc or auprc."""
    length_bp: int | None = None
    """Length of its sequences, the middle one where lengths vary."""
    classes: tuple[str, ...] = ("0", "1")
    """Names of the classes in the order of their ids."""
    labels: Mapping[str, int] = field(default_factory=dict)
    """Class id by label text; by default ids and class names stand for themselves."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Official number of rows by split; empty where none is official."""
    modality: str = "dna"
    """Modality of its rows; see :mod:`dnar2mae.benchmarks.rows.contract`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of the modality's reader, such as the names of files; DNA has none."""

    def __post_init__(self) -> None:
        """Check the metric and the label map."""
        if self.metric not in METRICS:
            raise ConfigError(f"task {self.name}: metric must be one of {', '.join(METRICS)}, got {self.metric!r}")
        if len(self.classes) < 2:
            raise ConfigError(f"task {self.name}: needs at least two classes, got {list(self.classes)}")
        outside = {text: i for text, i in self.labels.items() if not 0 <= i < len(self.classes)}
        if outside:
            raise ConfigError(f"task {self.name}: class ids must be in 0..{len(self.classes) - 1}, got {outside}")

    def label_map(self) -> dict[str, int]:
        """Return the class id of each label text, which never depends on the order of folders."""
        if self.labels:
            return dict(self.labels)
        return {str(i): i for i in range(len(self.classes))} | {name: i for i, name in enumerate(self.classes)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """Data sets that are reported together."""

    name: str
    title: str
    source: str
    folder: str
    """Name of the published folder; the data folder may be it or the folder above."""
    tasks: tuple[SuiteTask, ...]
    modality: str = "dna"
    """Modality of the rows of all tasks."""

    def select(self, names: tuple[str, ...]) -> "Suite":
        """Keep some tasks, by name or by the name's last part where that is unique; all where none is named.

        Raises
        ------
        ConfigError
            A name is unknown or stands for several tasks.
        """
        if not names:
            return self
        chosen = []
        for name in names:
            matches = [t for t in self.tasks if t.name == name] or [
                t for t in self.tasks if t.name.rpartition("/")[2] == name
            ]
            if len(matches) != 1:
                listed = ", ".join(task.name for task in matches or self.tasks)
                raise ConfigError(f"--tasks: {name!r} is {len(matches)} tasks of suite {self.name}; it has {listed}")
            chosen += matches
        kept = {task.name for task in chosen}
        return replace(self, tasks=tuple(task for task in self.tasks if task.name in kept))


def packaged_suites() -> tuple[str, ...]:
    """Return the names of the suites that come with the package."""
    return tuple(sorted(path.stem for path in PACKAGED.glob("*.yaml")))


def load_suite(name: str) -> Suite:
    """Read a packaged suite by name, or a custom one from its folder or YAML file.

    Raises
    ------
    ConfigError
        There is no such suite, or its file breaks a rule; every fault is named.
    """
    path = PACKAGED / f"{name}.yaml"
    if name not in packaged_suites():
        path = Path(name) / CUSTOM_FILE if Path(name).is_dir() else Path(name)
        if not path.is_file():
            raise ConfigError(
                f"no suite {name!r}: name one of {', '.join(packaged_suites())}, or a folder with {CUSTOM_FILE}"
            )
    rule = f"{path}: a suite is a mapping with name and tasks"
    with raising(ConfigError, rule, AttributeError, KeyError, TypeError, ValueError):
        return _suite(read_yaml(path), path)


def _suite(content: Mapping[str, Any], path: Path) -> Suite:
    splits = content.get("splits", SPLITS)
    modality = str(content.get("modality", "dna"))
    if modality not in modality_names():
        raise ConfigError(f"{path}: modality must be one of {', '.join(modality_names())}, got {modality!r}")
    tasks = []
    for name, given in content["tasks"].items():
        values = dict(given or {})
        if isinstance(values.get("sizes"), list):
            values["sizes"] = dict(zip(splits, values["sizes"], strict=True))
        values["classes"] = [str(text) for text in values.get("classes", ("0", "1"))]
        values["labels"] = {str(text): i for text, i in values.get("labels", {}).items()}
        tasks.append(structured({"name": str(name), "modality": modality, **values}, SuiteTask, path))
    return Suite(
        name=str(content["name"]),
        title=str(content.get("title", content["name"])),
        source=str(content.get("source", path)),
        folder=str(content.get("folder", content["name"])),
        tasks=tuple(tasks),
        modality=modality,
    )
