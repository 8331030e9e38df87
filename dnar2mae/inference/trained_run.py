"""A trained run of any modality, read back."""

from dataclasses import dataclass, replace
from pathlib import Path

from dnar2mae.config import PretrainConfig
from dnar2mae.errors import RunError
from dnar2mae.modalities.contract import Modality
from dnar2mae.modalities.registry import build_modality
from dnar2mae.models import MaskedModel
from dnar2mae.run.checkpoint import find_checkpoint, load_checkpoint
from dnar2mae.run.config_file import read_config
from dnar2mae.training.build import build_model
from dnar2mae.training.device import choose_device


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """A run read back: its settings, its kind of data without the training data, and its model."""

    config: PretrainConfig
    modality: Modality
    model: MaskedModel
    checkpoint: Path


def load_run(path: str | Path, *, device: str = "auto", seed: int | None = None) -> TrainedRun:
    """Read the model of a run of any kind of data.

    Parameters
    ----------
    path
        A run directory (its last checkpoint) or one of its checkpoints.
    device
        ``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` takes the first GPU, else the CPU.
    seed
        Give the same architecture with the initial weights of this seed instead: the control for what was learned.

    Raises
    ------
    RunError
        If it is no run, has no checkpoint, or a file is damaged or missing.
    """
    found = find_checkpoint(Path(path))
    if found is None:
        raise RunError(f"{path}: neither a run nor a checkpoint of one")
    run, checkpoint = found
    config = replace(read_config(run / "config.yaml", whole=True), device=device, init=None)
    target, _ = choose_device(config)
    modality = build_modality(config, run)
    model = build_model(replace(config, seed=config.seed if seed is None else seed), modality)
    if seed is None:
        load_checkpoint(checkpoint, model)
    return TrainedRun(config, modality, model.to(target).eval().requires_grad_(False), checkpoint)
