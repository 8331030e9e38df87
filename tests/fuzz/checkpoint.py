"""Checkpoints with one file replaced: without its checksum always refused; with it, loaded whole or not at all.

The first byte says which file; its upper bit, whether the checksums are written anew (as an attacker would).
"""

import json
import shutil
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save

from dnar2mae.run.checkpoint import Snapshot, load_checkpoint
from dnar2mae.storage.safe_files import CHECKSUMS, write_checksums
from dnar2mae.training.optimizer import StepGuard

from .common import Refused, reading

_FILES = ("state.json", "model.safetensors", "optimizer.safetensors", CHECKSUMS)
_RUN = {"step": 1, "history": [[0, 2.0]], "guard": [0.5, 0.0]}
_STATE = json.dumps({"format": 2, **_RUN}).encode()
_WEIGHTS = {"weight": torch.zeros(2, 3), "bias": torch.ones(2)}
_MOMENTS = {f"{kind}/{name}": value.clone() for name, value in _WEIGHTS.items() for kind in ("exp_avg", "exp_avg_sq")}
_MOMENTS |= {f"step/{name}": torch.tensor(1.0) for name in _WEIGHTS}
SEEDS = [
    bytes([which + 128 * fresh]) + content
    for which, content in enumerate((_STATE, save(_WEIGHTS), save(_MOMENTS), b"0" * 64 + b"  state.json\n"))
    for fresh in (0, 1)
]


def _model() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    return model, torch.optim.AdamW(model.parameters())


def _step(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()


@cache
def _good(folder: Path) -> Path:
    model, optimizer = _model()
    _step(model, optimizer)
    Snapshot.take(model, optimizer, _RUN).write(folder / "good")
    return folder / "good"


def check(data: bytes, folder: Path) -> None:
    which, content = data[0] if data else 0, data[1:]
    name = _FILES[which % 4]
    target = folder / "step-00000001"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(_good(folder), target)
    was = (target / name).read_bytes()
    (target / name).write_bytes(content)
    fresh = which >= 128 and name != CHECKSUMS
    if fresh:
        write_checksums(target)
    model, optimizer = _model()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    try:
        with reading(target):
            state = load_checkpoint(target, model, optimizer)
    except Refused:
        assert all(torch.equal(before[key], value) for key, value in model.state_dict().items()), "half loaded"
        assert not optimizer.state, "half loaded"
        assert content != was, "a good checkpoint was refused"
        return
    assert fresh or content == was or name == CHECKSUMS, "damage was not found"
    assert type(state["step"]) is int
    StepGuard(optimizer, None, torch.device("cpu")).restore(state["guard"])
    _step(model, optimizer)
