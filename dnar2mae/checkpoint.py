"""Checkpoints: a folder of safetensors and JSON, complete or absent. Nothing is ever pickled.

``RUN/checkpoints/step-00000500/`` holds ``model.safetensors``, ``optimizer.safetensors`` and ``state.json``; the
folder is written under a temporary name, flushed to disk and renamed. ``RUN/checkpoints/best`` is one of the same.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dnar2mae.errors import RunError

FORMAT = 1
_STEP = re.compile(r"step-(\d{8})$")


def step_name(step: int) -> str:
    """Folder name of a checkpoint taken after this many steps."""
    return f"step-{step:08d}"


def save_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Write a checkpoint, all or nothing.

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
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        save_file(weights, partial / "model.safetensors")
        save_file(_optimizer_tensors(model, optimizer), partial / "optimizer.safetensors")
        (partial / "state.json").write_text(json.dumps({"format": FORMAT, **state}, indent=1))
        for file in partial.iterdir():
            _flush(file)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
        _flush(folder.parent)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise RunError(f"{folder}: cannot write the checkpoint: {error}") from error


def load_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> dict[str, Any]:
    """Read a checkpoint into a model and, to go on training, its optimizer.

    Returns
    -------
    dict
        The saved state.

    Raises
    ------
    RunError
        If a file is missing or damaged, or the tensors do not fit the model.
    """
    try:
        state = json.loads((folder / "state.json").read_text())
        weights = load_file(folder / "model.safetensors")
        moments = load_file(folder / "optimizer.safetensors") if optimizer else {}
    except (OSError, SafetensorError, ValueError) as error:
        raise RunError(f"{folder}: not a readable checkpoint: {error}") from error
    if state.get("format") != FORMAT:
        raise RunError(f"{folder}: expected checkpoint format {FORMAT}, got {state.get('format')}")
    _check_fit(folder, model.state_dict(), weights)
    model.load_state_dict(weights)
    if optimizer:
        _load_optimizer(model, optimizer, moments)
    return state


def checkpoints(run: Path) -> list[Path]:
    """Complete checkpoints of a run by step, oldest first (``best`` not among them)."""
    return sorted(p for p in (run / "checkpoints").glob("step-*") if _STEP.search(p.name))


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


def prune(run: Path, keep: int) -> None:
    """Remove all but the last ``keep`` checkpoints."""
    for folder in checkpoints(run)[:-keep]:
        shutil.rmtree(folder)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """AdamW's moments as ``exp_avg/name``."""
    state = optimizer.state
    return {
        f"{kind}/{name}": value.detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        for kind, value in state.get(parameter, {}).items()
    }


def _load_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, moments: Mapping[str, Tensor]) -> None:
    parameters = dict(model.named_parameters())
    for key, value in moments.items():
        kind, name = key.split("/", 1)
        parameter = parameters[name]
        device = parameter.device if kind != "step" or parameter.is_cuda else torch.device("cpu")
        optimizer.state[parameter][kind] = value.to(device)


def _check_fit(folder: Path, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    problems = [f"{name} is missing" for name in wanted.keys() - found.keys()]
    problems += [f"{name} is not in the model" for name in found.keys() - wanted.keys()]
    problems += [
        f"{name} is {list(found[name].shape)}, not {list(wanted[name].shape)}"
        for name in wanted.keys() & found.keys()
        if wanted[name].shape != found[name].shape
    ]
    if problems:
        raise RunError(f"{folder}: does not fit the model: {'; '.join(sorted(problems)[:5])}")
