"""The small CNN of Genomic Benchmarks, corrected; and a small CNN over the frozen vectors of tokens.

Three convolutions (16, 8 and 4 channels, width 8), each with batch norm, ReLU and a pooling of 2, then a dense layer of
512. The published PyTorch version applies a sigmoid and then a loss that applies it again, so that even a row that it
is sure of costs 0.31 (positive) or 0.69 (negative) nats; here the logits go into the cross-entropy as they are, for
any number of classes.

References
----------
.. [1] Gresova et al., "Genomic benchmarks: a collection of datasets for genomic sequence classification", BMC Genomic
   Data 24 (2023), 25.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Int
from torch import Tensor, nn

from dnar2mae.benchmarks.models.encoder import Encoder, Tokens, autocast
from dnar2mae.errors import ConfigError
from dnar2mae.genome.alphabet import UNKNOWN, encode
from dnar2mae.models.pooling import mean_and_max

PAD_ID = UNKNOWN + 1
_EMBEDDING, _DENSE, _KERNEL, _CHANNELS = 100, 512, 8, (16, 8, 4)
_HEAD_CHANNELS, _HEAD_KERNEL = 64, 9
_MOST_BYTES = 8 * 2**30


class SmallCnn(nn.Module):
    """Class logits from the base codes of sequences, padded or cut to ``length_bp``."""

    def __init__(self, length_bp: int, num_classes: int) -> None:
        super().__init__()
        self.length_bp = max(length_bp, 64)  # shorter input would not survive three convolutions and poolings
        self.embedding = nn.Embedding(PAD_ID + 1, _EMBEDDING, padding_idx=PAD_ID)
        layers: list[nn.Module] = []
        channels, length = _EMBEDDING, self.length_bp
        for out in _CHANNELS:
            layers += [nn.Conv1d(channels, out, _KERNEL), nn.BatchNorm1d(out), nn.ReLU(), nn.MaxPool1d(2)]
            channels, length = out, (length - _KERNEL + 1) // 2
        self.convolutions = nn.Sequential(*layers)
        self.dense = nn.Sequential(
            nn.Flatten(), nn.Linear(channels * length, _DENSE), nn.ReLU(), nn.Linear(_DENSE, num_classes)
        )

    def forward(
        self, ids: Int[Tensor, "B T"], valid: Bool[Tensor, "B T"], pooled: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B C"]:
        """Pad or cut to the length, classify."""
        missing = self.length_bp - ids.shape[1]
        ids = nn.functional.pad(ids, (0, max(missing, 0)), value=PAD_ID)[:, : self.length_bp]
        return self.dense(self.convolutions[1:](self.first(ids)))

    def first(self, ids: Int[Tensor, "B L"]) -> Float[Tensor, "B 16 M"]:
        """Return the first convolution of the embedded bases.

        Embedding and convolution are both linear, so their product is one convolution of 5 channels instead of 100.
        """
        kernel = torch.einsum("vc,ock->ovk", self.embedding.weight[:PAD_ID], self.convolutions[0].weight)
        one_hot = nn.functional.one_hot(ids, PAD_ID + 1)[..., :PAD_ID].transpose(1, 2).to(kernel.dtype)
        return nn.functional.conv1d(one_hot, kernel, self.get_parameter("convolutions.0.bias"))


def tokenize(sequence: str) -> Tokens:
    """Return base codes."""
    codes = encode(sequence.encode()).astype(np.int64)
    return Tokens(codes, np.ones(len(codes), bool))


def small_cnn(length_bp: int, num_classes: int, seed: int) -> SmallCnn:
    """Return a CNN whose weights are drawn from a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SmallCnn(length_bp, num_classes)


class TokenVectors(NamedTuple):
    """One sequence, encoded."""

    vectors: Float16[np.ndarray, "T D"]
    pooled: Bool[np.ndarray, " T"]
    """Which tokens count: all but special ones."""


class CnnHead(nn.Module):
    """Class logits from vectors of tokens: norm, 1 x 1 and 9-tap convolutions, mean and maximum, a linear layer."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, _HEAD_CHANNELS), nn.ReLU())
        self.conv = nn.Conv1d(_HEAD_CHANNELS, _HEAD_CHANNELS, _HEAD_KERNEL, padding="same")
        self.head = nn.Linear(2 * _HEAD_CHANNELS, num_classes)

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


def pad_vectors(rows: Sequence[TokenVectors], device: torch.device) -> tuple[Tensor, Tensor]:
    """Pad to the longest of the sequences and move to a device."""
    longest = max(len(row.pooled) for row in rows)
    vectors = np.zeros((len(rows), longest, rows[0].vectors.shape[1]), np.float32)
    pooled = np.zeros((len(rows), longest), bool)
    for i, row in enumerate(rows):
        vectors[i, : len(row.pooled)], pooled[i, : len(row.pooled)] = row
    return torch.from_numpy(vectors).to(device), torch.from_numpy(pooled).to(device)
