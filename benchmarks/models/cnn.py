"""The small CNN of Genomic Benchmarks, corrected.

Three convolutions (16, 8 and 4 channels, width 8), each with batch norm, ReLU and a pooling of 2, then a dense layer of
512. The published PyTorch version applies a sigmoid and then a loss that applies it again, so that even a row that it
is sure of costs 0.31 (positive) or 0.69 (negative) nats; here the logits go into the cross-entropy as they are, for
any number of classes.

References
----------
.. [1] Gresova et al., "Genomic benchmarks: a collection of datasets for genomic sequence classification", BMC Genomic
   Data 24 (2023), 25.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dnar2mae.benchmarks.models.encoder import Tokens
from dnar2mae.genome.alphabet import UNKNOWN, encode

PAD_ID = UNKNOWN + 1
_EMBEDDING, _DENSE, _KERNEL, _CHANNELS = 100, 512, 8, (16, 8, 4)


class SmallCnn(nn.Module):
    """Class logits from base codes.

    Parameters
    ----------
    length_bp
        Longest sequence; shorter ones are padded to it.
    num_classes
        Number of logits.
    """

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
