"""A small convolution over the frozen vectors of tokens, which sees in what order they stand."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16
from torch import Tensor, nn

from dnar2mae.benchmarks.models.encoder import Encoder, Tokens, autocast
from dnar2mae.benchmarks.models.pooling import mean_and_max
from dnar2mae.errors import ConfigError

_CHANNELS, _KERNEL = 64, 9
_MOST_BYTES = 8 * 2**30


class TokenVectors(NamedTuple):
    """One sequence, encoded."""

    vectors: Float16[np.ndarray, "T D"]
    pooled: Bool[np.ndarray, " T"]
    """Which tokens count: all but special ones."""


class VectorBatch(NamedTuple):
    """Encoded sequences, padded with zeros."""

    vectors: Float[Tensor, "B T D"]
    pooled: Bool[Tensor, "B T"]


class CnnHead(nn.Module):
    """Class logits from vectors of tokens: norm, 1 x 1 and 9-tap convolutions, mean and maximum, a linear layer.

    Parameters
    ----------
    width
        Size D of a token's vector.
    num_classes
        Number of logits.
    """

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, _CHANNELS), nn.ReLU())
        self.conv = nn.Conv1d(_CHANNELS, _CHANNELS, _KERNEL, padding="same")
        self.head = nn.Linear(2 * _CHANNELS, num_classes)

    def forward(self, vectors: Float[Tensor, "B T D"], pooled: Bool[Tensor, "B T"]) -> Float[Tensor, "B C"]:
        """Return class logits; tokens that do not count read as zero."""
        reduced = self.reduce(vectors) * pooled[..., None]
        hidden = torch.relu(self.conv(reduced.transpose(1, 2))).transpose(1, 2)
        return self.head(mean_and_max(hidden, pooled))


def cnn_head(encoder: Encoder, num_classes: int, seed: int) -> CnnHead:
    """Return a head for an encoder's vectors, on its device, whose weights are drawn from a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return CnnHead(encoder.width, num_classes).to(encoder.device)


def token_vectors(encoder: Encoder, tokens: Sequence[Tokens]) -> list[TokenVectors]:
    """Encode sequences once, for all epochs and learning rates; half precision keeps large sets in memory.

    Raises
    ------
    ConfigError
        The vectors would take more than 8 GiB.
    """
    size = sum(len(t.ids) for t in tokens) * encoder.width * 2
    if size > _MOST_BYTES:
        raise ConfigError(
            f"{encoder.name}: method cnn-head keeps the vectors of all tokens in memory: "
            f"{size / 2**30:.0f} GiB here, {_MOST_BYTES >> 30} at most"
        )
    out: list[TokenVectors] = [TokenVectors(np.empty((0, encoder.width), np.float16), t.pooled) for t in tokens]
    with torch.inference_mode():
        for rows in encoder.batches(tokens):
            batch = encoder.collate([tokens[i] for i in rows])
            with autocast(encoder.precision, encoder.device):
                hidden = encoder.module(batch.ids, batch.valid).half().cpu().numpy()
            for i, vectors in zip(rows, hidden, strict=True):
                out[i] = TokenVectors(vectors[: len(tokens[i].ids)].copy(), tokens[i].pooled)
    return out


def pad_vectors(rows: Sequence[TokenVectors], device: torch.device) -> VectorBatch:
    """Pad to the longest of the sequences and move to a device."""
    longest = max(len(row.pooled) for row in rows)
    vectors = np.zeros((len(rows), longest, rows[0].vectors.shape[1]), np.float32)
    pooled = np.zeros((len(rows), longest), bool)
    for i, row in enumerate(rows):
        vectors[i, : len(row.pooled)], pooled[i, : len(row.pooled)] = row
    return VectorBatch(torch.from_numpy(vectors).to(device), torch.from_numpy(pooled).to(device))
