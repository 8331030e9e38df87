"""Sequences of different lengths one after the other, without padding."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Packing:
    """Where each sequence of a packed batch lies, and where each of its tokens came from."""

    cu_seqlens: Int[Tensor, " S1"]
    """First row of each sequence and, last, the number of rows, ``int32``."""
    positions: Int[Tensor, " N"]
    """Position of each row in its own sequence, which its rotary angle follows (gaps are allowed)."""
    max_length: int
    """Rows of the longest sequence, or more."""
    num_positions: int
    """All positions are below this."""

    @classmethod
    def of_valid(cls, valid: Bool[Tensor, "B T"]) -> "Packing":
        """Packing of the rows ``x[valid]`` of a padded batch; waits for the device."""
        lengths = valid.sum(1)
        cu_seqlens = torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).int()
        positions = valid.nonzero()[:, 1]
        return cls(cu_seqlens, positions, int(lengths.max()), valid.shape[1])

    def cut(self, documents: Int[Tensor, " N"]) -> "Packing":
        """Cut sequences where the document number changes from one row to the next; waits for the device."""
        segment = self.segments(len(documents))
        changes = (documents.diff() != 0) | (segment.diff() != 0)
        cuts = changes.nonzero().squeeze(1) + 1
        ends = cuts.new_tensor([len(documents)])
        cu_seqlens = torch.cat([torch.zeros_like(ends), cuts, ends]).int()
        return Packing(cu_seqlens, self.positions, int(cu_seqlens.diff().max()), self.num_positions)

    def lengths(self) -> list[int]:
        """Rows of each sequence, on the host."""
        return self.cu_seqlens.diff().tolist()

    def segments(self, num_rows: int) -> Int[Tensor, " N"]:
        """Number of the sequence that each of ``num_rows`` rows belongs to."""
        row = torch.arange(num_rows, device=self.cu_seqlens.device, dtype=self.cu_seqlens.dtype)
        return torch.searchsorted(self.cu_seqlens[1:], row, right=True)
