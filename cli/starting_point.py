"""Settings of a run before its flags: from the preset, the modality, a file, a run to resume, or other weights."""

import os
import warnings
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Generic, Literal

import tyro
from tyro.conf import arg

from dnar2mae.cli.parse import parse, peek
from dnar2mae.config import Data, PretrainConfig
from dnar2mae.modalities.registry import preset_for
from dnar2mae.presets import PRESETS


@dataclass(frozen=True, kw_only=True)
class StartingPoint(Generic[Data]):
    """What every command has that starts from the settings of a run."""

    preset: Literal["tiny", "small", "base", "large"] = "tiny"
    """tiny: 0.9 M parameters, minutes on a CPU; small: 10 M, one GPU; base: 110 M; large: 340 M."""
    config: Path | None = None
    """YAML file of settings."""
    run: Annotated[PretrainConfig[Data], arg(name="")]
    """Settings of the run."""


def parse_settings(command: Any, argv: list[str], *, prog: str) -> tuple[Any, PretrainConfig]:
    """Parse a command over its starting point, of which it takes the modality; return both."""
    config, out = starting_config(argv)
    default = replace(command(out=Path(), run=config), out=tyro.MISSING if out is None else Path(out))
    return parse(command[type(config.data)], argv, default=default, prog=prog), config


def starting_config(argv: list[str]) -> tuple[PretrainConfig, str | None]:
    """Return the settings that flags then change, and the value of ``--out``.

    A run to resume supplies them; a preset or a file beside it is laid over them, so that it can refuse what differs.
    Model and tokenizer of ``--init`` are defaults that nothing may change.

    Raises
    ------
    ConfigError
        If a file cannot be read or breaks a rule.
    RunError
        If a file asks for another model or tokenizer than ``--init`` has.
    """
    given = peek(argv, "--preset", "--config", "--out", "--modality", "--init", flags=("--resume",))
    saved = _saved(given)
    config = saved if saved and not given["preset"] else PRESETS.get(given["preset"] or "tiny", PRESETS["tiny"])()
    if given["modality"] and not (saved and given["modality"] == config.modality):
        config = preset_for(given["modality"], config)
    changed = _with_file(config, given["config"])
    if init := given["init"] or changed.init or (saved and saved.init):
        from dnar2mae.training.start import initial_weights

        own = saved or initial_weights(replace(changed, init=init))  # a run to resume reads --init no more
        if given["preset"] and config.model != own.model:
            warnings.warn(f"--preset {given['preset']}: the model's sizes remain those of --init {init}", stacklevel=2)
        config = replace(config, init=init, model=own.model, tokenizer=own.tokenizer)
        changed = replace(_with_file(config, given["config"]), init=init)
        refuse_other_weights(config, changed)
    return changed, given["out"]


def refuse_other_weights(start: PretrainConfig, config: PretrainConfig) -> None:
    """Refuse settings of model and tokenizer that differ from those of ``--init``, which ``start`` has."""
    if config.init and start.init == config.init:
        from dnar2mae.training.start import refuse_other_settings

        refuse_other_settings(start, config)


def _saved(given: dict[str, str | None]) -> PretrainConfig | None:
    """Return the settings of the run to resume, if there is one."""
    if given["resume"] and given["out"] and (saved := Path(given["out"]) / "config.yaml").exists():
        from dnar2mae.run.config_file import read_config

        return read_config(saved, whole=True)
    return None


def _with_file(config: PretrainConfig, file: str | None) -> PretrainConfig:
    if not file:
        return config
    from dnar2mae.run.config_file import read_config

    return read_config(Path(file), default=config)


def warn_ignored(config: PretrainConfig, preset: str) -> None:
    """Warn of each setting that has no effect beside the others.

    Not of one whose value is the default or the preset's, nor of those that come with the weights of ``--init``.
    """
    usual = [preset_for(config.modality, start) for start in (PretrainConfig(), PRESETS[preset]())]
    for name, reason in config.ignored().items():
        value_of = attrgetter(name)
        is_changed = value_of(config) not in map(value_of, usual)
        is_of_weights = config.init is not None and name.startswith(("model.", "tokenizer."))
        if is_changed and not is_of_weights and os.environ.get("RANK", "0") == "0":
            warnings.warn(f"--{name.replace('_', '-')} has no effect: {reason}", stacklevel=2)
