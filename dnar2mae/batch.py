"""What goes into a model: a batch of samples, how their tokens lie, and where samples come from."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one step, ready for the model."""

    tokens: Int[Tensor, "B T"]
    """Token ids, ``int32``: bases, word pieces, genes, or the places of patches."""
    maskable: Bool[Tensor, "B T"]
    """Real tokens: what may be masked and predicted."""
    weight: Float[Tensor, "B T"]
    """Loss weight of each token, in [0, 1]."""
    sample_ids: Int[Tensor, " B"]
    """Index of each sample in the run: where its masks are drawn, ``int64``."""
    values: Float[Tensor, "B T P"] | None = None
    """Numbers that a token carries (pixels of a patch, expression of a gene); None where the id is all."""
    units: Float[Tensor, "B T"] | None = None
    """How many units (bases, bytes) each token stands for in the reported loss; by default one."""
    documents: Int[Tensor, "B T"] | None = None
    """Number of the document each token belongs to, ascending along a row, -1 for padding at its end; tokens of
    different documents never see each other. None: every row is one document without padding."""

    def to(self, device: torch.device) -> "Batch":
        """Copy to a device, asynchronously where the memory is pinned."""
        return self._each(lambda x: x.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """Copy to page-locked memory (what the data loader calls)."""
        return self._each(lambda x: x.pin_memory())

    def split(self, size: int) -> "list[Batch]":
        """Cut into micro-batches of this many samples."""
        starts = range(0, len(self.tokens), size)
        return [self._each(lambda x, start=start: x[start : start + size]) for start in starts]

    def _each(self, change: Any) -> "Batch":
        parts: dict[str, Any] = {}
        for name in self.__slots__:
            part = getattr(self, name)
            parts[name] = None if part is None else change(part)
        return Batch(**parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How the tokens of a sample lie, which decides the backbones that fit."""

    axes: tuple[int, ...]
    """(T,) for a sequence, (rows, columns) for a grid, () for a set without neighbours."""
    tokens: int
    """Tokens of a sample, padding included."""
    aligned: bool = True
    """Token t of every sample is the same place or thing, and there is no padding."""
    packed: bool = False
    """A row may hold several documents."""


@runtime_checkable
class Source(Protocol):
    """Samples by index: sample ``i`` is a pure function of the run's seed and ``i``. Must be picklable."""

    def batch(self, sample_ids: Int[np.ndarray, " B"]) -> Batch:
        """Samples of these indices, on the CPU."""


@runtime_checkable
class FiniteSource(Source, Protocol):
    """A source with a number of samples, as validation data has."""

    def __len__(self) -> int:
        """Count the samples."""


@runtime_checkable
class LabelledSource(FiniteSource, Protocol):
    """A source whose samples may have classes, which probes predict and pretraining never sees."""

    labels: Int[np.ndarray, " N"] | None
    """Class of each sample as a place in ``classes``; None where they are not known."""
    classes: tuple[str, ...] | None
    """Names of the classes, sorted."""


def evenly_spaced(total: int, number: int) -> np.ndarray:
    """At most ``number`` indices spread over ``range(total)``."""
    if total <= number:
        return np.arange(total)
    return (np.arange(number) * total) // number
