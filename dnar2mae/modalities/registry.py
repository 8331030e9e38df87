"""Modalities by name: those of this package, and those that installed packages register.

A package adds a modality by an entry point of the group ``dnar2mae.modalities``, whose name is the value of
``--modality`` and whose object is a :class:`ModalitySpec`. No torch here, so that ``--help`` stays quick.
"""

import pkgutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from dnar2mae.config import PretrainConfig
from dnar2mae.errors import ConfigError, raising

if TYPE_CHECKING:
    from pathlib import Path

    from dnar2mae.modalities.contract import Modality

GROUP = "dnar2mae.modalities"
_BUILT_IN = {
    "dna": "dnar2mae.modalities.dna.spec:SPEC",
    "text": "dnar2mae.modalities.text.spec:SPEC",
    "image": "dnar2mae.modalities.image.spec:SPEC",
    "cell": "dnar2mae.modalities.cell.spec:SPEC",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModalitySpec:
    """Description of a modality, available without importing torch."""

    config: type
    """Frozen dataclass of the settings ``--data.*``; every field has a default."""
    modality: str
    """``module:Class`` of the :class:`dnar2mae.modalities.contract.Modality`, imported when a run starts."""
    adapt: Callable[[PretrainConfig], PretrainConfig] = lambda config: config
    """Turns a preset, whose ``data`` is already ``config()``, into one that suits this modality."""
    paths: str = "paths"
    """Setting among ``--data.*`` that names the data: a tuple of texts, or one text."""
    may_change: tuple[str, ...] = ()
    """Settings among ``--data.*`` that a resumed run may change, for they do not change what is learned. Paths are
    among them where :meth:`dnar2mae.modalities.contract.Modality.fingerprint` detects other data."""
    files: tuple[str, ...] = ()
    """Names of the files that :meth:`dnar2mae.modalities.contract.Modality.save` writes into a run directory."""
    benchmark: str | None = None
    """``module:NAME`` of the :class:`dnar2mae.benchmarks.rows.contract.LabelledData` by which the benchmarks read and
    embed labelled rows; by default they use :meth:`dnar2mae.modalities.contract.Modality.read`."""

    def data_of(self, path: "Path", **settings: Any) -> Any:
        """Return the settings ``--data.*`` of a run on one file."""
        is_one = isinstance(getattr(self.config(), self.paths), str)
        return self.config(**{self.paths: str(path) if is_one else (str(path),)}, **settings)


def modality_names() -> list[str]:
    """Return the names that ``--modality`` takes."""
    return sorted({*_BUILT_IN, *(point.name for point in entry_points(group=GROUP))})


def modality_spec(name: str) -> ModalitySpec:
    """Return the description of a modality.

    Raises
    ------
    ConfigError
        If there is none of this name, or the package that registers it cannot be imported.
    """
    if name in _BUILT_IN:
        return pkgutil.resolve_name(_BUILT_IN[name])
    for point in entry_points(group=GROUP, name=name):
        with raising(ConfigError, f"--modality {name}: {point.value} cannot be imported", ImportError, AttributeError):
            return point.load()
    raise ConfigError(f"--modality must be one of {', '.join(modality_names())}, got {name}")


def preset_for(name: str, preset: PretrainConfig) -> PretrainConfig:
    """Return a preset adapted to a modality.

    Raises
    ------
    ConfigError
        If there is no such modality.
    """
    from dataclasses import replace

    spec = modality_spec(name)
    data = preset.data if isinstance(preset.data, spec.config) else spec.config()
    return spec.adapt(replace(preset, modality=name, data=data))


def build_modality(config: PretrainConfig, saved: "Path | None" = None) -> "Modality":
    """Build the modality of a run.

    Parameters
    ----------
    config
        The run.
    saved
        Run directory of a trained model that is read back.

    Raises
    ------
    Dnar2maeError
        If the name is unknown or the settings do not fit.
    """
    return pkgutil.resolve_name(modality_spec(config.modality).modality)(config, saved)


def input_files(config: PretrainConfig) -> tuple[str, ...]:
    """Return the paths that a run reads: its data and, if one is named, the file of its tokenizer."""
    paths = getattr(config.data, modality_spec(config.modality).paths)
    tokenizer = getattr(config.tokenizer, "file", None)
    return (*((paths,) if isinstance(paths, str) else paths), *((tokenizer,) if tokenizer else ()))


def saved_files() -> set[str]:
    """Return the names of all files that any modality saves into a run directory."""
    names: set[str] = set()
    for name in modality_names():
        with suppress(ConfigError):  # a package that cannot be imported has written nothing that could be read
            names |= set(modality_spec(name).files)
    return names
