"""Versions, machine and command of a run."""

import os
import platform
import subprocess
import sys
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from dnar2mae import __version__

JOB = "TORCHELASTIC_RUN_ID"
"""Environment variable by which torchrun names its job."""


def environment() -> dict[str, Any]:
    """Return the versions, machine and command of this process."""
    packages = ("torch", "triton", "safetensors", "flash-attn")
    return {
        "command": sys.argv,
        "job": os.environ.get(JOB),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "commit": _commit(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "dnar2mae": __version__,
        **{name: _version(name) for name in packages},
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
    }


def _version(package: str) -> str | None:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return None


def _commit() -> str | None:
    """Return the commit of the source tree this package runs from, with a mark if it has local changes."""
    try:
        git = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except OSError:
        return None
    return git.stdout.strip() or None  # git prints nothing outside a repository
