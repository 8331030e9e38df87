"""YAML files to dataclasses, with faults in one line."""

from pathlib import Path
from typing import Any

import yaml

from dnar2mae.errors import ConfigError, raising
from dnar2mae.run.config_file import structured

__all__ = ["read_yaml", "structured"]


def read_yaml(path: Path) -> Any:
    """Parse a file.

    Raises
    ------
    ConfigError
        It is not YAML.
    """
    with raising(ConfigError, f"{path}: not YAML", yaml.YAMLError, UnicodeDecodeError):
        return yaml.safe_load(path.read_text())
