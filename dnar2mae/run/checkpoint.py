"""Checkpoints: a folder of safetensors and JSON, complete or absent; nothing is ever pickled.

``RUN/checkpoints/step-00000500/`` has ``model.safetensors``, ``optimizer.safetensors``, ``state.json``, where weights
are averaged ``ema.safetensors``, and their checksums, ``SHA256SUMS``. The folder is written under a temporary name,
flushed to disk and renamed, and what it replaces is removed after that, so that at every instant each visible folder is
complete. ``RUN/checkpoints/best``, ``stable`` (the last step before the decay of ``wsd``) and ``ema`` (a model of the
averaged weights) have the same files.
"""

import json
import re
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dnar2mae.distributed import ALONE, Ranks, copy_into, full_tensor, shard_like
from dnar2mae.errors import RunError, raising
from dnar2mae.storage.safe_files import find_damage, folder_written_whole, remove, remove_folder, write_checksums

FORMAT = 2
_AVERAGES = "ema.safetensors"
Averages = Mapping[str, Tensor] | None
"""Moving averages of weights by the names of these in the model, or none."""
_STEP = re.compile(r"step-(\d{8})")
_MOMENTS = (("exp_avg", "exp_avg_sq", "step"), ("momentum_buffer",))  # of AdamW, of Muon
_FILES = ("state.json", "model.safetensors", "optimizer.safetensors")


class DamagedCheckpointError(RunError):
    """A checkpoint differs from what was written: a file is missing, truncated or changed."""


def step_name(step: int) -> str:
    """Return the folder name of a checkpoint taken after this many steps."""
    return f"step-{step:08d}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The content of a checkpoint, copied to CPU memory, so that training can go on while it is written."""

    weights: dict[str, Tensor]
    """By name in the model."""
    moments: dict[str, Tensor]
    """Moments of AdamW as ``exp_avg/name`` and of Muon as ``momentum_buffer/name``."""
    state: str
    """JSON text of the values that a resumed run needs: the step, the validation history, the guard."""
    averages: dict[str, Tensor] = field(default_factory=dict)
    """Moving averages of the weights, by the same names; empty where none are kept."""

    @classmethod
    def take(
        cls, model: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Any], averages: Averages = None
    ) -> "Snapshot":
        """Copy the present state; of a sharded model all other ranks must call :func:`send_shards` meanwhile."""
        weights, moments, means = (
            {name: _copied(tensor) for name, tensor in part.items()} for part in _state(model, optimizer, averages)
        )
        return cls(weights, moments, json.dumps({"format": FORMAT, **state}, indent=1), means)

    def averaged(self) -> "Snapshot":
        """Return the model of the averaged weights, without an optimizer state."""
        return Snapshot(self.weights | self.averages, {}, self.state)

    def write(self, folder: Path) -> None:
        """Write a checkpoint, all or nothing; an older one of this name is replaced.

        Raises
        ------
        RunError
            If the disk is full or the folder cannot be written; nothing is left half-written, nothing is lost.
        """
        with raising(RunError, f"{folder}: cannot write the checkpoint", OSError, SafetensorError):
            with folder_written_whole(folder) as partial:
                save_file(self.weights, partial / "model.safetensors")
                save_file(self.moments, partial / "optimizer.safetensors")
                if self.averages:
                    save_file(self.averages, partial / _AVERAGES)
                (partial / "state.json").write_text(self.state)
                write_checksums(partial)


def send_shards(model: nn.Module, optimizer: torch.optim.Optimizer, averages: Averages = None) -> None:
    """Send this rank's shards to the :meth:`Snapshot.take` of the first rank."""
    for part in _state(model, optimizer, averages):
        for tensor in part.values():
            full_tensor(tensor)


def _state(
    model: nn.Module, optimizer: torch.optim.Optimizer, averages: Averages
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Return weights by name, moments as ``exp_avg/name`` and averaged weights by name, on their device."""
    moments = {
        f"{moment}/{name}": value.detach()
        for name, parameter in model.named_parameters()
        for moment, value in optimizer.state.get(parameter, {}).items()
    }
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}, moments, dict(averages or {})


def load_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None = None, averages: Averages = None
) -> dict[str, Any]:
    """Read a checkpoint into a model and, to go on training, its optimizer and the averages of its weights.

    Returns
    -------
    dict
        The saved state: ``step`` and, always where an optimizer is given, ``history`` and ``guard``.

    Raises
    ------
    DamagedCheckpointError
        If a file is missing or damaged; model and optimizer are unchanged.
    RunError
        If a file cannot be read at present, its format is another, or the tensors do not fit the model.
    """
    try:
        names = (*(_FILES if optimizer else _FILES[:2]), *([_AVERAGES] if averages else []))
        if fault := find_damage(folder, names):
            raise DamagedCheckpointError(f"{folder}: damaged checkpoint: {fault}")
        state = json.loads((folder / "state.json").read_text())
        weights = load_file(folder / "model.safetensors")
        moments = load_file(folder / "optimizer.safetensors") if optimizer else {}
        means = load_file(folder / _AVERAGES) if averages else {}
    except (FileNotFoundError, SafetensorError, ValueError, RecursionError) as error:
        raise DamagedCheckpointError(f"{folder}: not a readable checkpoint: {error}") from error
    except OSError as error:  # a fault of the disk, the network or permissions: the files may be good
        raise RunError(
            f"{folder}: cannot read the checkpoint: {error.strerror or error}; nothing was changed; make it readable "
            "and start again, or move it away to go on without it"
        ) from error
    # all is checked before anything is copied, so that a refused checkpoint leaves the model as it was
    _check_state(folder, state, to_train=optimizer is not None)
    _check_fit(folder, model.state_dict(), weights)
    if averages:
        _check_fit(folder, averages, means)
        for name, target in averages.items():
            copy_into(target, means[name])
    if optimizer:
        _check_moments(folder, model, moments)
        _load_optimizer(model, optimizer, moments)
    load_weights(model, weights, folder)
    return state


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], source: Path) -> None:
    """Copy weights by name into a model, sharded or not.

    Raises
    ------
    RunError
        If they do not fit; the message names ``source``.
    """
    present = model.state_dict()
    _check_fit(source, present, weights)
    for name, target in present.items():
        copy_into(target, weights[name])


def load_newest(
    run: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    ranks: Ranks = ALONE,
    averages: Averages = None,
) -> tuple[Path, dict[str, Any]] | None:
    """Read the last undamaged checkpoint of a run; a warning names each damaged one after it.

    The first rank chooses; the others read the same one, or end the run. Return its folder and the saved state; None
    where the run has no undamaged checkpoint.

    Raises
    ------
    RunError
        As :func:`load_checkpoint`, except for damage.

    Warns
    -----
    UserWarning
        A checkpoint is damaged and was skipped.
    """
    # one rank chooses: another might see a file system's older state, or damage of its own
    newest = _load_newest(run, lambda folder: load_checkpoint(folder, model, optimizer, averages), ranks)
    (step,) = ranks.all_max(newest[1]["step"] if newest else -1, device=next(model.parameters()).device)
    if ranks.is_first or step < 0:
        return newest
    folder = run / "checkpoints" / step_name(step)
    return folder, load_checkpoint(folder, model, optimizer, averages)


def _load_newest(run: Path, load: Callable[[Path], dict[str, Any]], ranks: Ranks) -> tuple[Path, dict[str, Any]] | None:
    left = checkpoints(run) if ranks.is_first else []
    while left:
        folder = left.pop()
        try:
            return folder, load(folder)
        except DamagedCheckpointError as error:
            then = "going back to the one before" if left else "starting from the beginning"
            warnings.warn(f"{error}; {then}", stacklevel=3)
    return None


def checkpoints(run: Path) -> list[Path]:
    """Return the checkpoints of a run by step, oldest first (``best`` not among them)."""
    return sorted(p for p in (run / "checkpoints").glob("step-*") if _STEP.fullmatch(p.name))


def last_good(run: Path) -> str:
    """Return a sentence that says which checkpoint a failed run can go on from."""
    saved = checkpoints(run)
    return f"the last good checkpoint is {saved[-1]}" if saved else "no checkpoint was written before that"


def find_checkpoint(path: Path) -> tuple[Path, Path] | None:
    """Return the run directory and checkpoint that a path names: a run (its last checkpoint) or one of its checkpoints.

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
    """Keep the last ``keep`` checkpoints; what cannot be removed now is hidden, for :func:`recover` to remove.

    Checkpoints after ``newest``, the one just written, are removed too: the run met them damaged and went back.
    """
    present = checkpoints(run)
    last = [folder.name for folder in present].index(newest) + 1 if newest else len(present)
    for folder in present[: max(last - keep, 0)] + present[last:]:
        with suppress(OSError):
            remove_folder(folder)


def recover(run: Path) -> None:
    """Remove what a process left behind that was killed while it wrote a checkpoint."""
    folder = run / "checkpoints"
    best, old = folder / "best", folder / ".best.old"
    # killed between the two renames that replace ``best``: the old one is put back
    if old.is_dir() and not old.is_symlink() and not best.exists():
        with suppress(OSError):
            old.rename(best)
    for left in (*folder.glob(".*.old"), *folder.glob(".*.partial")):
        remove(left)


def _copied(tensor: Tensor) -> Tensor:
    return full_tensor(tensor).to("cpu", copy=True, memory_format=torch.contiguous_format)


def _check_state(folder: Path, state: Any, *, to_train: bool) -> None:
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        got = state.get("format") if isinstance(state, dict) else "no mapping"
        raise RunError(f"{folder}: expected checkpoint format {FORMAT}, got {got}")
    step = state.get("step")
    if type(step) is not int or step < 0:  # not isinstance: True is an int
        raise RunError(f"{folder}: the step in state.json must be a whole number, got {step!r}")
    if _STEP.fullmatch(folder.name) and folder.name != step_name(step):
        raise RunError(f"{folder}: the step in state.json must be that of the folder's name, got {step}")
    if type(state.get("steps", 0)) is not int or type(state.get("dtype", "")) is not str:
        raise RunError(f"{folder}: steps and dtype in state.json must be a whole number and a name")
    if (to_train or "history" in state) and not _is_history(state.get("history")):
        raise RunError(f"{folder}: the history in state.json must be pairs of step and loss")
    if (to_train or "guard" in state) and not _is_guard(state.get("guard")):
        raise RunError(f"{folder}: the guard in state.json must be two floats")


def _is_history(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and type(pair[0]) is int and type(pair[1]) in (int, float)
        for pair in value
    )


def _is_guard(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(number) is float for number in value)


def _load_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, moments: Mapping[str, Tensor]) -> None:
    parameters = dict(model.named_parameters())
    for key, value in moments.items():
        moment, name = key.split("/", 1)
        parameter = parameters[name]
        own = value.clone()  # what was read is mapped from the file, which may be removed
        if moment == "step":  # fused AdamW counts on the parameter's GPU
            optimizer.state[parameter][moment] = own.to(parameter.device if parameter.is_cuda else "cpu")
        else:
            optimizer.state[parameter][moment] = shard_like(parameter, own)


def _check_moments(folder: Path, model: nn.Module, moments: Mapping[str, Tensor]) -> None:
    """Check that every parameter that has one of its optimizer's moments has all of them."""
    own = {tuple(key.partition("/")[::2]) for key in moments}
    named = dict(model.named_parameters())
    wanted = {
        f"{moment}/{name}": named[name] if moment != "step" else torch.empty(())
        for optimizer in _MOMENTS
        for name in {name for moment, name in own if moment in optimizer} & named.keys()
        for moment in optimizer
    }
    _check_fit(folder, wanted, moments)


def _check_fit(folder: Path, wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    problems = [f"{name} is missing" for name in wanted.keys() - given.keys()]
    problems += [f"{name} is not in the model" for name in given.keys() - wanted.keys()]
    problems += [
        f"{name} is {_layout(given[name])}, not {_layout(wanted[name])}"
        for name in wanted.keys() & given.keys()
        if _layout(wanted[name]) != _layout(given[name])
    ]
    if problems:
        raise RunError(f"{folder}: does not fit the model: {'; '.join(sorted(problems)[:5])}")


def _layout(tensor: Tensor) -> str:
    return f"{list(tensor.shape)}" if tensor.dtype == torch.float32 else f"{list(tensor.shape)} of {tensor.dtype}"
