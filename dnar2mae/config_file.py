"""Configurations as YAML: what ``--config`` reads and every run saves."""

from pathlib import Path
from typing import Any

import yaml
from cattrs import ClassValidationError, transform_error
from cattrs.preconf.pyyaml import make_converter

from dnar2mae.config import PretrainConfig
from dnar2mae.errors import ConfigError
from dnar2mae.modalities.registry import modality_spec, preset_for
from dnar2mae.safe_files import write_whole

_CONVERTER = make_converter(forbid_extra_keys=True)


def read_config(path: Path, default: PretrainConfig | None = None) -> PretrainConfig:
    """Read a configuration; settings it leaves out keep those of ``default``.

    Raises
    ------
    ConfigError
        If the file is missing or not YAML, a key is unknown or a value breaks its rule; every fault is named.
    """
    try:
        content = yaml.safe_load(path.read_text()) or {}
        default = default or PretrainConfig()
        name = content.get("modality", default.modality)
        if name != default.modality:
            default = preset_for(name, default)
        kind: Any = PretrainConfig[modality_spec(name).config]  # type: ignore[misc]
        return _CONVERTER.structure(_merged(to_dict(default), content), kind)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    except ClassValidationError as error:
        faults = transform_error(error, format_exception=_fault)
        raise ConfigError(f"{path}: {'; '.join(faults)}") from error
    except (TypeError, AttributeError, ConfigError) as error:
        raise ConfigError(f"{path}: expected a mapping of settings to values: {error}") from error


def write_config(config: PretrainConfig, path: Path) -> None:
    """Save a configuration, every setting written out."""
    write_whole(path, yaml.safe_dump(to_dict(config), sort_keys=False))


def to_dict(config: PretrainConfig) -> dict:
    """Nested plain values of a configuration."""
    return _CONVERTER.unstructure(config, PretrainConfig[type(config.data)])  # type: ignore[misc]


def flatten(config: PretrainConfig) -> dict[str, object]:
    """Settings by the name of their flag, as ``mask.low``."""
    flat: dict[str, object] = {}
    for key, value in to_dict(config).items():
        if isinstance(value, dict):
            flat |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    return flat


def _merged(default: dict, content: dict) -> dict:
    """Lay nested settings over nested defaults."""
    both = {k: _merged(default[k], v) for k, v in content.items() if isinstance(default.get(k), dict) and v}
    return {**default, **content, **both}


def _fault(error: BaseException, _type: type | None) -> str:
    match error:
        case ConfigError():
            return str(error)
        case _ if hasattr(error, "extra_fields"):
            return f"unknown key {', '.join(sorted(map(str, error.extra_fields)))}"
        case ValueError() | TypeError():
            return f"invalid value ({error})"
    return str(error)
