"""YAML files to dataclasses, with faults in one line."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from cattrs import ClassValidationError, transform_error
from cattrs.preconf.pyyaml import make_converter

from dnar2mae.errors import ConfigError, raising

T = TypeVar("T")
_CONVERTER = make_converter(forbid_extra_keys=True)


def read_yaml(path: Path) -> Any:
    """Parse a file.

    Raises
    ------
    ConfigError
        It is not YAML.
    """
    with raising(ConfigError, f"{path}: not YAML", yaml.YAMLError, UnicodeDecodeError):
        return yaml.safe_load(path.read_text())


def structured(content: Any, target: type[T], path: Path) -> T:
    """Turn plain values into a dataclass.

    Raises
    ------
    ConfigError
        A key is unknown or missing, or a value breaks its rule; every fault is named.
    """
    try:
        return _CONVERTER.structure(content, target)
    except ClassValidationError as error:
        faults = "; ".join(transform_error(error, format_exception=_fault))
        raise ConfigError(f"{path}: {faults.replace(' @ $', '')}") from error
    except (TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: expected a mapping of settings to values ({error})") from error


def _fault(error: BaseException, _type: type | None) -> str:
    match error:
        case ConfigError():
            return str(error)
        case KeyError():
            return f"{error.args[0]} is missing"
        case _ if hasattr(error, "extra_fields"):
            return f"unknown key {', '.join(sorted(error.extra_fields))}"
    return f"invalid value ({error})"
