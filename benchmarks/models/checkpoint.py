"""Models of this package as encoders."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dnar2mae.benchmarks.models.encoder import Encoder, LayerVectors, Tokens
from dnar2mae.errors import RunError
from dnar2mae.genome.alphabet import encode
from dnar2mae.inference import load
from dnar2mae.modalities.dna.embedding import ids_of
from dnar2mae.modalities.dna.modality import DnaModality
from dnar2mae.models.hidden_states import hidden_units, layer_outputs
from dnar2mae.models.pooling import pooled_layers
from dnar2mae.tokenizers import KmerTokenizer


def from_checkpoint(name: str, path: Path, device: str = "auto") -> Encoder:
    """Read a run on DNA, one of its checkpoints, or an exported folder; see :func:`dnar2mae.inference.load`.

    Raises
    ------
    RunError
        If it is none of these.
    """
    trained = load(path, device=device)
    modality = trained.modality
    if not isinstance(modality, DnaModality):
        raise RunError(f"{path}: expected a model of DNA, got one of --modality {trained.config.modality}")
    tokenizer = modality.tokenizer

    def tokenize(sequence: str) -> Tokens:
        ids = ids_of(tokenizer, encode(sequence.encode()))
        return Tokens(ids, np.ones(len(ids), bool))

    layers = pooled_layers(trained.config.model.depth)

    def vectors(module: Any, ids: torch.Tensor, valid: torch.Tensor, want_units: bool) -> LayerVectors:
        with hidden_units(module, layers if want_units else [], valid) as units:
            return LayerVectors(layer_outputs(module, ids, valid, layers), units)

    if isinstance(tokenizer, KmerTokenizer):
        tokenization = "base" if tokenizer.k == 1 else "kmer"
    else:
        tokenization = "bpe"
    return Encoder(
        name=name,
        kind="checkpoint",
        module=trained.model,
        width=trained.config.model.width,
        tokenize=tokenize,
        pad_id=tokenizer.vocabulary.pad_id,
        tokenization=tokenization,
        digest=digest(trained.model),
        random_like=lambda seed: trained.random_like(seed).model,
        layers=vectors,
        window_bp=modality.config.data.window_bp,
    )


def digest(module: nn.Module) -> str:
    """Return a hash of all weights, in the order of their names."""
    hasher = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(module.state_dict().items()):
        hasher.update(name.encode())
        # Bytes, because numpy has no bfloat16.
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        hasher.update(flat.view(torch.uint8).numpy().tobytes())
    return hasher.hexdigest()
