"""The folder of one run: its files, the lock on it, and what a resumed run may change."""

import json
import os
import platform
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dnar2mae.config import PretrainConfig
from dnar2mae.errors import ConfigError, RunError, raising
from dnar2mae.modalities.registry import input_files, modality_spec, saved_files
from dnar2mae.run.config_file import flatten, read_config, write_config
from dnar2mae.run.environment import JOB, environment
from dnar2mae.storage.safe_files import lock, refuse_inputs, write_whole

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
    "max_hours",
    "parallel",
    "reduce",
    "timeout_s",
}
"""Settings that do not change what is learned, so that a resumed run may differ in them; a modality adds its own."""


_WRITTEN = (
    "data.sha256",
    "metrics.jsonl",
    "metrics-????????.jsonl",
    "summary.json",
    "loss.png",
    "report.html",
    "report.json",
    "held_out-last.*",
    "held_out-best.*",
    "checkpoints",
    "calibration",
    "tensorboard",
    ".*.partial*",
)
"""Files of a run besides its configuration and environment, which overwriting removes; modalities add their own."""


class RunDirectory:
    """The files of one run, and the rules for writing them; :meth:`hold` makes the folder.

    A run with other settings than those of a pretraining has a subclass, with :meth:`read` to :meth:`written`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.environment_file = path / "environment.json"
        self.data_file = path / "data.sha256"
        self.summary_file = path / "summary.json"
        self.plot_file = path / "loss.png"
        self.checkpoint_folder = path / "checkpoints"

    def read(self) -> Any:
        """Return the settings of the run that is there.

        Raises
        ------
        ConfigError
            If they cannot be read.
        """
        return read_config(self.config_file, whole=True)

    def write(self, config: Any) -> None:
        """Write the settings of a run."""
        write_config(config, self.config_file)

    def flat(self, config: Any) -> dict[str, object]:
        """Return settings by the name of their flag."""
        return flatten(config)

    def inputs(self, config: Any) -> tuple[str, ...]:
        """Return the files that a run reads."""
        return input_files(config)

    def may_change(self, config: Any) -> set[str]:
        """Return the settings in which a resumed run may differ."""
        return _MAY_CHANGE | {f"data.{name}" for name in modality_spec(config.modality).may_change}

    def why_not_longer(self, before: Any, config: Any) -> str | None:
        """Return why a run cannot go on to another number of steps; None if it can."""
        return _why_not_longer(before, config.steps)

    def written(self) -> tuple[str, ...]:
        """Return patterns of a run's files besides its settings and environment, which overwriting removes."""
        # What any modality saves: the configuration that says which one it was may be damaged.
        return (*_WRITTEN, *saved_files())

    def check(self, config: Any, *, resume: bool, overwrite: bool) -> None:
        """Check, before any work is done, that a run may be written here.

        Raises
        ------
        RunError
            If the folder is in use without ``resume`` or ``overwrite``, has something else than a run in it,
            cannot be written, or ``resume`` is given with settings that change the result.
        ConfigError
            If overwriting would remove an input.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path}: the output must be a folder, but a file has that name")
        in_use = self.path.is_dir() and any(not entry.name.startswith(".") for entry in self.path.iterdir())
        if resume and overwrite:
            raise RunError("--resume and --overwrite exclude each other")
        if resume:
            self._check_resume(config)
        elif in_use and not overwrite:
            raise RunError(
                f"{self.path}: not empty; go on with --resume, start again with --overwrite, or choose another --out"
            )
        elif in_use and not self._is_run():
            raise RunError(f"{self.path}: holds no dnar2mae run, so --overwrite will not remove it")
        if overwrite:
            refuse_inputs(self._entries(), self.inputs(config))
            # a pretrained run that is named by its folder: what is removed lies inside the input, not around it
            if self.path.resolve() in (Path(given).resolve() for given in self.inputs(config)):
                raise ConfigError(f"--out must not write over an input: {self.path} is one")
        existing = next(p for p in [self.path, *self.path.absolute().parents] if p.exists())
        if not os.access(existing, os.W_OK):
            raise RunError(f"{self.path}: {existing} is not writable; choose another --out")
        self._check_links()

    def _is_run(self) -> bool:
        """Return whether the folder is a run's: it has a configuration or, where that is damaged, an environment."""
        with suppress(ConfigError):
            self.read()
            return True
        try:
            content = json.loads(self.environment_file.read_bytes())
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(content, dict) and "dnar2mae" in content

    def _check_links(self) -> None:
        """Refuse links that lead out of the folder: the run would write where another user chose."""
        inside = self.path.resolve()
        for entry in self.path.iterdir() if self.path.is_dir() else ():
            if entry.is_symlink() and not entry.resolve().is_relative_to(inside):
                raise RunError(f"{entry}: a link out of the run directory, to {entry.resolve()}; remove it")

    def _check_resume(self, config: Any) -> None:
        if not self.config_file.exists():
            raise RunError(f"{self.path}: nothing to resume here: no config.yaml")
        before = self.read()
        was, now = self.flat(before), self.flat(config)
        changed = {name for name in was.keys() | now.keys() if was.get(name) != now.get(name)}
        changed -= self.may_change(config)
        reason = self.why_not_longer(before, config) if "steps" in changed else None
        if reason is None:
            changed.discard("steps")
        if changed:
            refused = [f"--{k.replace('_', '-')} was {was.get(k)}, got {now.get(k)}" for k in sorted(changed)]
            because = f" ({reason})" if reason else ""
            raise RunError(f"{self.path}: a resumed run must keep its settings: {'; '.join(refused)}{because}")

    def is_of_this_job(self) -> bool:
        """Return whether the last process here belonged to the torchrun job of this one."""
        try:
            job = json.loads(self.environment_file.read_text())["job"]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return self.config_file.exists() and job == os.environ.get(JOB)

    @contextmanager
    def hold(self, config: Any, *, resume: bool, overwrite: bool, data: str = "") -> Iterator[None]:
        """Make the folder and lock it against other processes; the system releases the lock however this process ends.

        See :meth:`check` for the settings. ``data`` is the fingerprint of the data, which a resumed run must have begun
        with; empty where it is not known.

        Raises
        ------
        RunError
            If another process uses the folder, or the run began with other data; as :meth:`check`; as :meth:`create`.

        Warns
        -----
        UserWarning
            The file system has no locks.
        """
        with raising(RunError, f"{self.path}: cannot write the run", OSError):
            self.path.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            self._lock(handle)
            self.check(config, resume=resume, overwrite=overwrite)  # again: another process may have written since
            other = resume and data and self.data_file.exists() and self.data_file.read_bytes().strip() != data.encode()
            if other:
                raise RunError(
                    f"{self.path}: the run began with other data: name files of the same content (they may lie "
                    "elsewhere), or start again with --overwrite"
                )
            self.create(config, overwrite=overwrite, data=data)
            yield
        finally:
            os.close(handle)

    def _lock(self, handle: int) -> None:
        try:
            is_locked = lock(handle, wait=False)
        except BlockingIOError as error:
            holder = os.read(handle, 200).decode(errors="replace").strip() or "another process"
            raise RunError(f"{self.path}: in use by {holder}; wait for its end or choose another --out") from error
        if not is_locked:
            warnings.warn(f"{self.path}: no locks here; make sure that no other process uses this folder", stacklevel=4)
            return
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {platform.node()}\n".encode(), 0)

    def create(self, config: Any, *, overwrite: bool, data: str = "") -> None:
        """Make the folder and save the configuration, the environment and the fingerprint of the data.

        Raises
        ------
        RunError
            If the folder cannot be written.
        """
        with raising(RunError, f"{self.path}: cannot write the run", OSError):
            if overwrite and self.path.exists():
                self._clear()
            self.path.mkdir(parents=True, exist_ok=True)
            self.write(config)  # first: it makes the folder a run, to resume or to overwrite
            self.checkpoint_folder.mkdir(exist_ok=True)
            write_whole(self.environment_file, json.dumps(environment(), indent=1))
            if data:
                write_whole(self.data_file, data + "\n")

    def _entries(self) -> list[Path]:
        """Return what there is of a run's files that overwriting removes."""
        return [entry for pattern in self.written() for entry in self.path.glob(pattern)]

    def _clear(self) -> None:
        """Remove the earlier run's files.

        Configuration and environment stay until they are replaced: if this process is killed in between, the folder
        is still known as a run and can be overwritten again.
        """
        for entry in self._entries():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def _why_not_longer(config: PretrainConfig, steps: int) -> str | None:
    """Return why a run of this configuration cannot go on to another number of steps; None if it can."""
    if steps < config.steps:
        return "a run can be lengthened, not shortened"
    if config.optimizer.schedule == "cosine":
        return "under --optimizer.schedule cosine every step's learning rate depends on the last step; wsd can go on"
    law, step = config.mask.ratio_law(), config.steps - 1
    if law.intervals(step, config.steps) != law.intervals(step, steps):
        return f"under --mask.law {config.mask.law} every step's mask ratio depends on the last step"
    return None
