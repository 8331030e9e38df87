"""Models of this package as encoders."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dnar2mae.benchmarks.models.encoder import Encoder, Tokens
from dnar2mae.inference import Model


def from_checkpoint(name: str, path: Path, device: str = "auto") -> Encoder:
    """Read a run, a checkpoint or an exported folder; see :meth:`dnar2mae.hub.Model.from_pretrained`."""
    model = Model.from_pretrained(path, device=device)
    tokenizer = model.tokenizer

    def tokenize(sequence: str) -> Tokens:
        ids = tokenizer.encode_text(sequence)
        return Tokens(ids, np.ones(len(ids), bool))

    return Encoder(
        name=name,
        kind="checkpoint",
        module=model.module,
        width=model.config.width,
        tokenize=tokenize,
        pad_id=tokenizer.vocabulary.pad_id,
        tokenization="base" if tokenizer.k == 1 else "kmer",
        digest=digest(model.module),
        random_like=lambda seed: model.random_like(seed).module,
        window_bp=model.window_bp,
    )


def digest(module: nn.Module) -> str:
    """Hash of all weights, in the order of their names."""
    hasher = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(module.state_dict().items()):
        hasher.update(name.encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        hasher.update(flat.view(torch.uint8).numpy().tobytes())
    return hasher.hexdigest()
