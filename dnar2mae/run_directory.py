"""The folder of one run: configuration, metrics, checkpoints and summary."""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from dnar2mae.config import PretrainConfig
from dnar2mae.config_file import flatten, read_config, write_config
from dnar2mae.errors import RunError

_MAY_CHANGE = {
    "micro_batch",
    "num_workers",
    "device",
    "attention",
    "kernels",
    "compile",
    "gradient_checkpointing",
    "checkpoint_every",
    "keep_checkpoints",
    "tensorboard",
    "data.genomes",
    "data.paths",
    "data.in_memory_mb",
}
"""Settings that do not change what is learned, so that a resumed run may differ in them."""


class RunDirectory:
    """Names and rules of a run's files.

    Parameters
    ----------
    path
        The folder; created by :meth:`create`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.metrics_file = path / "metrics.jsonl"
        self.summary_file = path / "summary.json"
        self.plot_file = path / "loss.png"
        self.checkpoint_folder = path / "checkpoints"

    def check(self, config: PretrainConfig, *, resume: bool, overwrite: bool) -> None:
        """Say before any work whether a run may be written here.

        Raises
        ------
        RunError
            If the folder is in use without ``resume`` or ``overwrite``, holds something else than a run,
            cannot be written, or ``resume`` is given with settings that change the result.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path}: the output must be a folder, but a file has that name")
        in_use = self.path.is_dir() and any(self.path.iterdir())
        if resume and overwrite:
            raise RunError("--resume and --overwrite exclude each other")
        if resume:
            self._check_resume(config)
        elif in_use and not overwrite:
            raise RunError(
                f"{self.path}: not empty; go on with --resume, start again with --overwrite, or choose another --out"
            )
        elif in_use and not self.config_file.exists():
            raise RunError(f"{self.path}: holds no dnar2mae run, so --overwrite will not remove it")
        place = next(p for p in [self.path, *self.path.absolute().parents] if p.exists())
        if not os.access(place, os.W_OK):
            raise RunError(f"{self.path}: {place} is not writable; choose another --out")

    def _check_resume(self, config: PretrainConfig) -> None:
        if not self.config_file.exists():
            raise RunError(f"{self.path}: nothing to resume here: no config.yaml")
        was, now = flatten(read_config(self.config_file)), flatten(config)
        changed = [f"--{k.replace('_', '-')} was {was[k]}, got {now[k]}" for k in now if was[k] != now[k]]
        refused = [
            text for text, k in zip(changed, (k for k in now if was[k] != now[k]), strict=True) if k not in _MAY_CHANGE
        ]
        if refused:
            raise RunError(f"{self.path}: a resumed run must keep its settings: {'; '.join(refused)}")

    def create(self, config: PretrainConfig, *, overwrite: bool) -> None:
        """Make the folder and save the configuration and the environment.

        Raises
        ------
        RunError
            If the folder cannot be written.
        """
        try:
            if overwrite and self.path.exists():
                shutil.rmtree(self.path)
            self.checkpoint_folder.mkdir(parents=True, exist_ok=True)
            write_config(config, self.config_file)
            (self.path / "environment.json").write_text(json.dumps(environment(), indent=1))
        except OSError as error:
            raise RunError(f"{self.path}: cannot write the run: {error.strerror}") from error

    def rewind_metrics(self, step: int) -> None:
        """Drop the rows of steps that a resumed run will do again (a torn last line, too)."""
        if not self.metrics_file.exists():
            return
        kept = []
        for line in self.metrics_file.read_text().splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except (ValueError, KeyError):
                continue
        partial = self.metrics_file.with_suffix(".partial")
        partial.write_text("".join(line + "\n" for line in kept))
        partial.replace(self.metrics_file)


def environment() -> dict[str, Any]:
    """Versions, machine and command of this process."""
    packages = ("dnar2mae", "torch", "triton", "safetensors", "flash-attn")
    return {
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "commit": _commit(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        **{name: _version(name) for name in packages},
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Commit of the source tree this package runs from, with a mark if it has local changes."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except OSError:
        return None
    return done.stdout.strip() or None
