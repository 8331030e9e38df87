"""Samples with classes, by which the runs of a grid are judged beside their held-out loss; no torch here."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dnar2mae.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    """Samples with classes: a file that has them, or a file for each class."""

    file: str | None = None
    """File of samples and their classes, as the modality reads it."""
    label: str = "label"
    """Column of the classes where the file has columns."""
    classes: Mapping[str, str] = field(default_factory=dict)
    """File of each class, by its name."""
    rows: int = 2000
    """Most samples, as many of each file, drawn at random, alike for every run."""
    length: int | None = None
    """Tokens to take from the middle of each sample, of sequences; shorter samples are left out."""
    labels_per_class: int = 10
    """Labels of each class in the columns of few labels."""

    def __post_init__(self) -> None:
        """Check that there is one source of classes, and ranges."""
        if bool(self.file) == bool(self.classes):
            raise ConfigError("labelled must name either a file or classes")
        if self.classes and len(self.classes) < 2:
            raise ConfigError(f"labelled.classes must be two or more, got {', '.join(self.classes)}")
        for name, least in (("rows", 10), ("length", 1), ("labels_per_class", 2)):
            if (value := getattr(self, name)) is not None and value < least:
                raise ConfigError(f"labelled.{name} must be at least {least}, got {value}")

    @property
    def files(self) -> tuple[str, ...]:
        """All files."""
        return (self.file,) if self.file else tuple(self.classes.values())

    def inside(self, folder: Path) -> "Labelled":
        """Return the same with files below a folder."""
        classes = {name: str(folder / file) for name, file in self.classes.items()}
        return replace(self, file=self.file and str(folder / self.file), classes=classes)
