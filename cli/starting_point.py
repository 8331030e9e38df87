"""Where the settings of a run come from before its flags: the preset, the kind of data, a file, a run to resume."""

import os
import warnings
from pathlib import Path

from dnar2mae.config import PretrainConfig
from dnar2mae.modalities.registry import preset_for
from dnar2mae.presets import PRESETS


def starting_config(argv: list[str]) -> tuple[PretrainConfig, str | None]:
    """Return the settings that flags then change, and the value of ``--out``."""
    given = _peek(argv)
    config = PRESETS.get(given["preset"] or "tiny", PRESETS["tiny"])()
    if given["modality"]:
        config = preset_for(given["modality"], config)
    if given["resume"] and given["out"] and (saved := Path(given["out"]) / "config.yaml").exists():
        from dnar2mae.run.config_file import read_config

        config = read_config(saved, whole=True)
    elif given["config"]:
        from dnar2mae.run.config_file import read_config

        config = read_config(Path(given["config"]), default=config)
    return config, given["out"]


def warn_ignored(config: PretrainConfig, preset: str) -> None:
    """Warn of each setting that has no effect beside the others and is not as its preset has it."""
    default = preset_for(config.modality, PRESETS[preset]())
    for name, reason in config.ignored().items():
        group, _, setting = name.rpartition(".")
        given, usual = (getattr(c, group) if group else c for c in (config, default))
        is_changed = getattr(given, setting) != getattr(usual, setting)
        if is_changed and os.environ.get("RANK", "0") == "0":
            warnings.warn(f"--{name.replace('_', '-')} has no effect: {reason}", stacklevel=2)


def _peek(argv: list[str]) -> dict[str, str | None]:
    """Values of the flags that decide where the defaults come from."""
    import argparse

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in ("--preset", "--config", "--out", "--modality"):
        parser.add_argument(name, nargs="?")
    parser.add_argument("--resume", action="store_true")
    known, _ = parser.parse_known_args(argv)
    return vars(known)
