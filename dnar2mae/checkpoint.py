"""Checkpoints: a folder of safetensors and JSON, complete or absent. Nothing is ever pickled.

``RUN/checkpoints/step-00000500/`` holds ``model.safetensors``, ``optimizer.safetensors``, ``state.json`` and their
checksums, ``SHA256SUMS``. The folder is written under a temporary name, flushed to disk and renamed, and what it
replaces is removed after that, so that at every instant each visible folder is complete. ``RUN/checkpoints/best`` is
one of the same.
"""

import json
import re
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dnar2mae.distributed import like, place, whole
from dnar2mae.errors import RunError
from dnar2mae.safe_files import damage, flush, write_checksums

FORMAT = 2
_STEP = re.compile(r"step-(\d{8})")
_FILES = ("state.json", "model.safetensors", "optimizer.safetensors")


class DamagedCheckpointError(RunError):
    """A checkpoint is not what was written: a file is missing, truncated or has other bits."""


def step_name(step: int) -> str:
    """Folder name of a checkpoint taken after this many steps."""
    return f"step-{step:08d}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a checkpoint holds, copied to CPU memory: training may go on while it is written."""

    weights: dict[str, Tensor]
    """By name in the model."""
    moments: dict[str, Tensor]
    """AdamW's moments as ``exp_avg/name``."""
    state: str
    """JSON values that the loop needs to go on."""

    @classmethod
    def take(cls, model: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> "Snapshot":
        """Copy the present state; of a sharded model, every rank takes part and gets the whole."""
        moments = {
            f"{kind}/{name}": _copied(value)
            for name, parameter in model.named_parameters()
            for kind, value in optimizer.state.get(parameter, {}).items()
        }
        weights = {name: _copied(tensor) for name, tensor in model.state_dict().items()}
        return cls(weights, moments, json.dumps({"format": FORMAT, **state}, indent=1))

    def write(self, folder: Path) -> None:
        """Write a checkpoint, all or nothing; an older one of this name is replaced.

        Raises
        ------
        RunError
            If the disk is full or the folder cannot be written; nothing is left half-written, nothing is lost.
        """
        partial = folder.with_name(f".{folder.name}.partial")
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            save_file(self.weights, partial / "model.safetensors")
            save_file(self.moments, partial / "optimizer.safetensors")
            (partial / "state.json").write_text(self.state)
            write_checksums(partial)
            for file in partial.iterdir():
                flush(file)
            flush(partial)
            old = _hide(folder)
            partial.rename(folder)
            flush(folder.parent)
            if old:
                shutil.rmtree(old)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise RunError(f"{folder}: cannot write the checkpoint: {error}") from error


def save_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Write a checkpoint now (see :class:`dnar2mae.checkpoint_writer.CheckpointWriter` for one that does not wait).

    Parameters
    ----------
    folder
        Where it will be; an older one there is replaced.
    model, optimizer
        What to save.
    state
        JSON values that the loop needs to go on (the step and the validation history).

    Raises
    ------
    RunError
        If the disk is full or the folder cannot be written; nothing is left half-written.
    """
    Snapshot.take(model, optimizer, state).write(folder)


def load_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> dict[str, Any]:
    """Read a checkpoint into a model and, to go on training, its optimizer.

    Returns
    -------
    dict
        The saved state: ``step`` and ``history``.

    Raises
    ------
    DamagedCheckpointError
        If a file is missing or damaged; model and optimizer are as they were.
    RunError
        If it is of another format, or the tensors do not fit the model.
    """
    try:
        if fault := damage(folder, _FILES if optimizer else _FILES[:2]):
            raise DamagedCheckpointError(f"{folder}: damaged checkpoint: {fault}")
        state = json.loads((folder / "state.json").read_text())
        weights = load_file(folder / "model.safetensors")
        moments = load_file(folder / "optimizer.safetensors") if optimizer else {}
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise DamagedCheckpointError(f"{folder}: not a readable checkpoint: {error}") from error
    _check_state(folder, state)
    _check_fit(folder, model.state_dict(), weights)
    if optimizer:
        _check_moments(folder, model, moments)
        _load_optimizer(model, optimizer, moments)
    load_weights(model, weights, folder)
    return state


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], source: Path) -> None:
    """Copy weights by name into a model, whole or sharded.

    Raises
    ------
    RunError
        If they do not fit; the message names ``source``.
    """
    present = model.state_dict()
    _check_fit(source, present, weights)
    for name, target in present.items():
        place(target, weights[name])


def load_newest(
    run: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None = None
) -> tuple[Path, dict[str, Any]] | None:
    """Read the last checkpoint of a run that is whole; each damaged one before it is named in a warning.

    Returns
    -------
    (Path, dict) or None
        Its folder and the saved state; None where the run has no whole checkpoint.

    Raises
    ------
    RunError
        As :func:`load_checkpoint`, damage aside.

    Warns
    -----
    UserWarning
        A checkpoint is damaged and was skipped.
    """
    for folder in reversed(checkpoints(run)):
        try:
            return folder, load_checkpoint(folder, model, optimizer)
        except DamagedCheckpointError as error:
            warnings.warn(f"{error}; going back to the one before", stacklevel=2)
    return None


def checkpoints(run: Path) -> list[Path]:
    """Give the checkpoints of a run by step, oldest first (``best`` not among them)."""
    return sorted(p for p in (run / "checkpoints").glob("step-*") if _STEP.fullmatch(p.name))


def find_checkpoint(path: Path) -> tuple[Path, Path] | None:
    """Run directory and checkpoint that a path names: a run (its last checkpoint) or one of its checkpoints.

    Raises
    ------
    RunError
        If it is a run without a checkpoint.
    """
    if (path / "config.yaml").is_file():
        saved = checkpoints(path)
        if not saved:
            raise RunError(f"{path}: this run has no checkpoint yet")
        return path, saved[-1]
    run = path.absolute().parent.parent
    return (run, path) if (path / "state.json").is_file() and (run / "config.yaml").is_file() else None


def prune(run: Path, keep: int, *, newest: str | None = None) -> None:
    """Keep the last ``keep`` checkpoints.

    Parameters
    ----------
    run
        Run directory.
    keep
        How many.
    newest
        Name of the one just written: later ones go too, since the run found them damaged and went back.
    """
    present = checkpoints(run)
    last = [folder.name for folder in present].index(newest) + 1 if newest else len(present)
    for folder in present[: max(last - keep, 0)] + present[last:]:
        if old := _hide(folder):
            shutil.rmtree(old)


def recover(run: Path) -> None:
    """Tidy up after a process that was killed while it wrote a checkpoint."""
    folder = run / "checkpoints"
    for old in folder.glob(".*.old"):
        present = folder / old.name[1:-4]
        if present.name == "best" and not present.exists():
            old.rename(present)
        else:
            shutil.rmtree(old)
    for partial in folder.glob(".*.partial"):
        shutil.rmtree(partial)


def _hide(folder: Path) -> Path | None:
    """Take a checkpoint out of sight in one step, for removal; None where there is none."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    try:
        return folder.rename(old)
    except FileNotFoundError:
        return None


def _copied(tensor: Tensor) -> Tensor:
    return whole(tensor.detach()).to("cpu", copy=True, memory_format=torch.contiguous_format)


def _check_state(folder: Path, state: Any) -> None:
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else "no mapping"
        raise RunError(f"{folder}: expected checkpoint format {FORMAT}, got {found}")
    step, history = state.get("step"), state.get("history", [])
    if type(step) is not int or step < 0:
        raise RunError(f"{folder}: the step in state.json must be a whole number, got {step!r}")
    pairs = isinstance(history, list) and all(
        isinstance(pair, list) and len(pair) == 2 and type(pair[0]) is int and type(pair[1]) in (int, float)
        for pair in history
    )
    if not pairs:
        raise RunError(f"{folder}: the history in state.json must be pairs of step and loss")


def _load_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, moments: Mapping[str, Tensor]) -> None:
    parameters = dict(model.named_parameters())
    for key, value in moments.items():
        kind, name = key.split("/", 1)
        parameter = parameters[name]
        own = value.clone()  # what was read is mapped from the file
        if kind == "step":
            optimizer.state[parameter][kind] = own.to(parameter.device if parameter.is_cuda else "cpu")
        else:
            optimizer.state[parameter][kind] = like(parameter, own)


def _check_moments(folder: Path, model: nn.Module, moments: Mapping[str, Tensor]) -> None:
    """Every parameter that has one of AdamW's moments has all of them."""
    own = {key.partition("/")[2] for key in moments}
    wanted = {
        f"{kind}/{name}": parameter if kind != "step" else torch.empty(())
        for name, parameter in model.named_parameters()
        for kind in ("exp_avg", "exp_avg_sq", "step")
        if name in own
    }
    _check_fit(folder, wanted, moments)


def _check_fit(folder: Path, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    problems = [f"{name} is missing" for name in wanted.keys() - found.keys()]
    problems += [f"{name} is not in the model" for name in found.keys() - wanted.keys()]
    problems += [
        f"{name} is {_layout(found[name])}, not {_layout(wanted[name])}"
        for name in wanted.keys() & found.keys()
        if _layout(wanted[name]) != _layout(found[name])
    ]
    if problems:
        raise RunError(f"{folder}: does not fit the model: {'; '.join(sorted(problems)[:5])}")


def _layout(tensor: Tensor) -> str:
    return f"{list(tensor.shape)}" if tensor.dtype == torch.float32 else f"{list(tensor.shape)} of {tensor.dtype}"
