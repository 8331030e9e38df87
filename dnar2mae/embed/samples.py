"""Embeddings of samples of any kind of data, by a run's model."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from dnar2mae.assemble import build_model, choose_device
from dnar2mae.checkpoint import find_checkpoint, load_checkpoint
from dnar2mae.config import PretrainConfig
from dnar2mae.config_file import read_config
from dnar2mae.errors import RunError
from dnar2mae.genome.progress import progress_bar
from dnar2mae.modalities.contract import FiniteSource, Modality
from dnar2mae.modalities.registry import build_modality
from dnar2mae.models import MaskedModel


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


@torch.inference_mode()
def embed_samples(
    model: MaskedModel, source: FiniteSource, *, batch_tokens: int | None = None, progress: bool = False
) -> Float[np.ndarray, "N W"]:
    """Give the vector of each sample, as :meth:`dnar2mae.models.MaskedModel.pooled` makes it.

    Parameters
    ----------
    model
        Of a run on the same kind of data.
    source
        The samples.
    batch_tokens
        Tokens encoded at once; by default 8,192 on a CPU, else 65,536.
    progress
        Show a progress bar on a terminal.

    Returns
    -------
    float32 [N, W]
        In the order of the source; NaN for a sample without a real token.
    """
    device = next(model.parameters()).device
    size = max((batch_tokens or (8192 if device.type == "cpu" else 65_536)) // max(model.layout.tokens, 1), 1)
    rows = []
    with progress_bar("embedding", len(source), show=progress) as update:
        for start in range(0, len(source), size):
            batch = source.batch(np.arange(start, min(start + size, len(source)))).to(device)
            vectors = model.pooled(batch)
            vectors[~batch.maskable.any(1)] = torch.nan
            rows.append(vectors.cpu().numpy())
            update(start + len(batch.tokens))
    return np.concatenate(rows)
