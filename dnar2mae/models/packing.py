"""Sequences of different lengths one after the other, without padding."""

from dataclasses import dataclass
from itertools import accumulate

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Packing:
    """Where each sequence of a packed batch lies, and where each of its tokens came from."""

    cu_seqlens: Int[Tensor, " S1"]
    """First row of each sequence and, last, the number of rows, ``int32``."""
    positions: Int[Tensor, " N"]
    """Position of each row in its own sequence, which its rotary angle follows (gaps are allowed)."""
    lengths: tuple[int, ...]
    """Rows of each sequence, which the host knows without waiting for the device."""
    num_positions: int
    """All positions are below this."""

    @classmethod
    def of_tokens(cls, index: Int[Tensor, " N"], lengths: tuple[int, ...], num_positions: int) -> "Packing":
        """Pack some tokens of a batch; the host sends the lengths to the device and does not wait for it.

        Parameters
        ----------
        index
            Positions of the tokens in the flattened batch, ascending.
        lengths
            How many of them each sequence has.
        num_positions
            Length T of a row of the batch.
        """
        cu_seqlens = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32).to(index.device, non_blocking=True)
        return cls(cu_seqlens, index % num_positions, lengths, num_positions)

    @property
    def max_length(self) -> int:
        """Rows of the longest sequence."""
        return max(self.lengths, default=0)

    def segments(self, num_rows: int) -> Int[Tensor, " N"]:
        """Return the number of the sequence that each of ``num_rows`` rows belongs to."""
        row = torch.arange(num_rows, device=self.cu_seqlens.device, dtype=self.cu_seqlens.dtype)
        return torch.searchsorted(self.cu_seqlens[1:], row, right=True)
