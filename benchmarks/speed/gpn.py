"""A convolutional masked DNA model of GPN's kind, in plain PyTorch.

References
----------
.. [1] Benegas, Batra, Song, "DNA language models are powerful predictors of genome-wide variant effects", PNAS 2023.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from dnar2mae.tokenizers import Vocabulary

KERNEL, DILATIONS = 9, (1, 2, 4, 8, 16, 32)
"""Taps of a convolution, and the cycle of dilations, one a block."""
IGNORED = -100  # the label that torch's cross-entropy leaves out


class GpnBlock(nn.Module):
    """A dilated convolution and a feed-forward block, each normalised before and added to its input.

    ``dilation`` is the distance of two taps of the convolution in bases.
    """

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.conv_norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, width, KERNEL, padding="same", dilation=dilation)
        self.mix = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """Apply the block."""
        inner = self.conv(self.conv_norm(x).transpose(1, 2)).transpose(1, 2)
        x = x + self.mix(F.gelu(inner))
        return x + self.feed_forward(x)


class GpnNet(nn.Module):
    """One-hot input, ``depth`` blocks of dilated convolutions of ``width >= vocabulary`` channels, and a head."""

    def __init__(self, vocabulary: int, width: int, depth: int) -> None:
        super().__init__()
        self.width = width
        self.blocks = nn.Sequential(*(GpnBlock(width, DILATIONS[i % len(DILATIONS)]) for i in range(depth)))
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width), nn.Linear(width, vocabulary))

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Return the logits of every token."""
        return self.head(self.blocks(F.one_hot(tokens.long(), self.width).float()))


def mask_tokens(tokens: Int[Tensor, "B T"], vocabulary: Vocabulary) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    """Mask 15 % of the bases as BERT does: 80 % show [MASK], 10 % a random base. Return inputs, labels."""
    first, end = vocabulary.first_real, vocabulary.first_real + vocabulary.num_real
    chosen = (torch.rand(tokens.shape) < 0.15) & (tokens >= first)
    kind = torch.rand(tokens.shape)
    random = torch.randint(first, end, tokens.shape, dtype=tokens.dtype)
    shown = torch.where(kind < 0.8, vocabulary.mask_id, torch.where(kind < 0.9, random, tokens))
    return torch.where(chosen, shown, tokens), torch.where(chosen, tokens.long(), IGNORED)
