"""Where the settings of a run come from before its flags: the preset, the kind of data, a file, a run to resume."""

import os
import warnings
from operator import attrgetter
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
    """Warn of each setting that has no effect beside the others, unless its value is the default or the preset's."""
    usual = [preset_for(config.modality, start) for start in (PretrainConfig(), PRESETS[preset]())]
    for name, reason in config.ignored().items():
        value_of = attrgetter(name)
        is_changed = value_of(config) not in map(value_of, usual)
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
