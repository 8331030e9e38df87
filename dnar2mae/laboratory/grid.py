"""Grids of runs, declared in YAML: settings (data and a model) x mask laws x learning rates x seeds."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from dnar2mae.config import PretrainConfig, TokenizerConfig
from dnar2mae.errors import ConfigError, DataError, SequenceError, raising
from dnar2mae.laboratory.downstream import read_labelled
from dnar2mae.laboratory.labelled import Labelled
from dnar2mae.laboratory.plan import CompareOptions, Law, PlannedRun, folder_name, parse_mask, plan_cells, with_controls
from dnar2mae.modalities.registry import build_modality, modality_spec
from dnar2mae.models.backbone import why_unsupported
from dnar2mae.models.embedder import TokenEmbedder
from dnar2mae.presets import PRESETS
from dnar2mae.run.config_file import config_of, read_yaml, structured
from dnar2mae.training.device import choose_device

PACKAGED = Path(__file__).parent / "grids"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """The first round: a learning rate for each law in each setting, chosen by the mean held-out area."""

    rates: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Learning rates to choose from, as multiples of the setting's."""
    seeds: tuple[int, ...] = (100,)
    """Seeds, none of which may be among those of the second round."""
    steps_share: float = 0.5
    """Length of its runs, as a share of the setting's steps."""

    def __post_init__(self) -> None:
        """Check ranges."""
        folders = {f"{rate:g}" for rate in self.rates}  # as trial_cells names them
        if not folders or len(folders) < len(self.rates) or not all(0 < rate < inf for rate in self.rates):
            raise ConfigError(f"tuning.rates must be different numbers > 0, got {list(self.rates)}")
        _check_seeds("tuning.seeds", self.seeds)
        if not 0 < self.steps_share <= 1:
            raise ConfigError(f"tuning.steps_share must be in (0, 1], got {self.steps_share:g}")


@dataclass(frozen=True, kw_only=True, slots=True)
class GridSetting:
    """Data and a model on which laws are compared."""

    name: str
    config: PretrainConfig
    """The runs; mask law and seed are not used."""
    labelled: Labelled | None = None
    """Samples with classes to judge the runs by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LawGrid:
    """What is compared."""

    settings: tuple[GridSetting, ...]
    laws: tuple[Law, ...]
    """Those asked for, then the controls that were added."""
    added: tuple[Law, ...] = ()
    """The controls."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    tuning: Tuning | None = None
    """None: every law runs at the setting's own learning rate."""
    title: str = "Mask laws compared"

    @property
    def tunes(self) -> bool:
        """Whether there is a first round."""
        return self.tuning is not None and len(self.tuning.rates) > 1


@dataclass(frozen=True, kw_only=True, slots=True)
class _GridFile:
    """The keys of a grid's file."""

    title: str
    laws: tuple[str, ...]
    settings: Mapping[str, Any]
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    tuning: Tuning | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _SettingKeys:
    """The keys of a setting that are no settings of a run."""

    preset: str = "tiny"
    labelled: Labelled | None = None


def packaged_grids() -> dict[str, Path]:
    """Return the files of the grids that come with the package, by name."""
    return {path.stem: path for path in sorted(PACKAGED.glob("*.yaml"))}


def load_grid(name: str, data_dir: Path, **changes: Any) -> LawGrid:
    """Read a packaged grid by name, or one of your own from a YAML file.

    Parameters
    ----------
    name
        Name or file.
    data_dir
        Folder of the files that it names.
    changes
        Settings of all runs to change, such as the device.

    Raises
    ------
    ConfigError
        If there is no such grid, or its file breaks a rule, or a cell of it cannot be.
    """
    path = packaged_grids().get(name, Path(name))
    if not path.is_file():
        raise ConfigError(f"--grid must be one of {', '.join(packaged_grids())}, or a YAML file; got {name}")
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping with title, laws and settings")
    file: _GridFile = structured(content, _GridFile, path)
    with raising(ConfigError, str(path), ConfigError):
        laws, added = with_controls([parse_mask(text) for text in file.laws])
        if not file.laws or not file.settings:
            raise ConfigError("a grid needs at least one law and one setting")
        _check_seeds("seeds", file.seeds)
        if file.tuning and (both := sorted(set(file.tuning.seeds) & set(file.seeds))):
            raise ConfigError(f"tuning.seeds must not be among seeds, got {both[0]} in both")
    settings = tuple(_setting(key, given, path, data_dir, changes) for key, given in file.settings.items())
    grid = LawGrid(
        settings=settings, laws=tuple(laws), added=tuple(added), seeds=file.seeds, tuning=file.tuning, title=file.title
    )
    check_grid(grid, str(path))
    return grid


def _check_seeds(name: str, seeds: Sequence[int]) -> None:
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ConfigError(f"{name} must be one or more, all different and at least 0, got {list(seeds)}")


def grid_of_run(config: PretrainConfig, laws: Sequence[Law], seeds: tuple[int, ...]) -> LawGrid:
    """Return the grid of one setting without a name, at its own learning rate.

    Raises
    ------
    ConfigError
        If there is no law, or laws repeat.
    """
    if not laws:
        raise ConfigError("--laws must name at least one law")
    everything, added = with_controls(laws)
    return LawGrid(
        settings=(GridSetting(name="", config=config),), laws=tuple(everything), added=tuple(added), seeds=seeds
    )


def _setting(name: str, given: Any, path: Path, data_dir: Path, changes: Mapping[str, Any]) -> GridSetting:
    where = f"{path}: settings.{name}"
    if not isinstance(given, dict) or folder_name(name) != name or name in ("", ".", ".."):  # it names a folder
        raise ConfigError(f"{where}: expected a name without : , / and a mapping of settings to values")
    if "seed" in given or set(given.get("mask") or ()) - {"replace"}:
        raise ConfigError(f"{where}: seeds and masks (but mask.replace) are set by the grid's seeds and laws")
    own: _SettingKeys = structured({k: v for k, v in given.items() if k in ("preset", "labelled")}, _SettingKeys, where)
    if own.preset not in PRESETS:
        raise ConfigError(f"{where}: preset must be one of {', '.join(PRESETS)}, got {own.preset}")
    of_run = {key: value for key, value in given.items() if key not in ("preset", "labelled")}
    config = replace(config_of(of_run, where, PRESETS[own.preset]()), **changes)
    key = modality_spec(config.modality).paths
    paths = getattr(config.data, key)
    inside = str(data_dir / paths) if isinstance(paths, str) else tuple(str(data_dir / path) for path in paths)
    tokenizer = replace(config.tokenizer, file=config.tokenizer.file and str(data_dir / config.tokenizer.file))
    config = replace(config, data=replace(config.data, **{key: inside}), tokenizer=tokenizer)
    return GridSetting(name=name, config=config, labelled=own.labelled and own.labelled.inside(data_dir))


def check_grid(grid: LawGrid, where: str = "") -> None:
    """Check that every cell of a grid can run, before any does: device, files, backbones, tokens, placements.

    ``where`` is what messages about a setting begin with.

    Raises
    ------
    Dnar2maeError
        If one cannot.
    """
    for setting in grid.settings:
        choose_device(setting.config)
        place = ": ".join(part for part in (where, setting.name and f"settings.{setting.name}") if part)
        with raising(ConfigError, place, ConfigError, SequenceError, DataError) if place else nullcontext():
            _check_setting(setting, grid.laws)


def _check_setting(setting: GridSetting, laws: Sequence[Law]) -> None:
    config = setting.config
    modality = build_modality(config)
    if not isinstance(modality.embedder(), TokenEmbedder):
        if config.tokenizer != TokenizerConfig():
            raise ConfigError(f"modality {config.modality} has no tokenizer, so that k-mers cannot be")
        if pmi := [law.name for law in laws if law.mask.placement == "pmi"]:
            raise ConfigError(f"the law {pmi[0]} needs tokens that recur, and those of {config.modality} carry values")
    if reason := why_unsupported(config.model, modality.layout):
        raise ConfigError(f"model.backbone {config.model.backbone} cannot be used: {reason}")
    if setting.labelled is not None:
        if config.model.objective == "mae":
            raise ConfigError("labelled needs model.objective mlm: missing inputs are shown as [MASK]")
        for file in setting.labelled.files:
            if not Path(file).is_file():
                raise ConfigError(f"labelled: {file}: no such file")
    modality.open()


def check_labels(grid: LawGrid) -> None:
    """Check that the samples with classes of every setting can be used, which is read off the runs when they are done.

    Raises
    ------
    Dnar2maeError
        If a file cannot be read or has no classes, or these are too few.
    """
    for setting in grid.settings:
        if setting.labelled is not None:
            with raising(ConfigError, f"settings.{setting.name}: labelled", ConfigError, SequenceError, DataError):
                read_labelled(build_modality(setting.config), setting.labelled)


def trial_cells(grid: LawGrid, out: Path, options: CompareOptions) -> list[PlannedRun]:
    """Plan the first round."""
    if grid.tuning is None or not grid.tunes:
        return []
    share, cells = grid.tuning.steps_share, []
    for rate in grid.tuning.rates:
        short = [
            replace(s, config=replace(s.config, steps=max(round(s.config.steps * share), 1))) for s in grid.settings
        ]
        for cell in _cells(grid, short, out / "trials" / f"rate-{rate:g}", replace(options, seeds=grid.tuning.seeds)):
            cells.append(at_rate(replace(cell, is_trial=True), rate))
    return cells


def grid_cells(grid: LawGrid, out: Path, options: CompareOptions) -> list[PlannedRun]:
    """Plan the paired runs, seed by seed, so that an unfinished grid is one with fewer seeds."""
    return _cells(grid, grid.settings, out / "runs", replace(options, seeds=grid.seeds))


def _cells(grid: LawGrid, settings: Sequence[GridSetting], folder: Path, options: CompareOptions) -> list[PlannedRun]:
    cells = []
    for setting in settings:
        modality = build_modality(setting.config)
        planned = plan_cells(
            setting.config,
            grid.laws,
            folder / setting.name,
            options,
            sample_tokens=modality.layout.tokens,
            anchor_stride=modality.vocabulary.anchor_stride,
        )
        cells += [
            replace(cell, setting=setting.name, labelled=setting.labelled, extras=not setting.name) for cell in planned
        ]
    return sorted(cells, key=lambda cell: options.seeds.index(cell.seed))


def at_rate(cell: PlannedRun, rate: float) -> PlannedRun:
    """Return a cell whose learning rates are multiplied."""
    own = cell.config.optimizer
    scaled = replace(own, lr=own.lr * rate, muon_lr=own.muon_lr and own.muon_lr * rate)
    return replace(cell, rate=rate, config=replace(cell.config, optimizer=scaled))
