"""The contract between a kind of data and the pretraining loop."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dnar2mae.tokenizers import Vocabulary


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one step, ready for the model."""

    tokens: Int[Tensor, "B T"]
    """Token ids, ``int32``."""
    maskable: Bool[Tensor, "B T"]
    """Real tokens: what may be masked and predicted."""
    weight: Float[Tensor, "B T"]
    """Loss weight of each token, in [0, 1]."""
    sample_ids: Int[Tensor, " B"]
    """Index of each sample in the run: where its masks are drawn, ``int64``."""

    def to(self, device: torch.device) -> "Batch":
        """Copy to a device, asynchronously where the memory is pinned."""
        return Batch(*(getattr(self, name).to(device, non_blocking=True) for name in self.__slots__))

    def pin_memory(self) -> "Batch":
        """Copy to page-locked memory (what the data loader calls)."""
        return Batch(*(getattr(self, name).pin_memory() for name in self.__slots__))

    def split(self, size: int) -> "list[Batch]":
        """Cut into micro-batches of this many samples."""
        parts = zip(*(getattr(self, name).split(size) for name in self.__slots__), strict=True)
        return [Batch(*part) for part in parts]


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


class Modality(Protocol):
    """Data, vocabulary and yardstick of one kind of data."""

    vocabulary: Vocabulary
    tokens_per_sample: int
    unit: str
    """Name of the validation loss's unit, e.g. "bits per base"."""
    nats_per_unit: float
    """A mean loss in nats per predicted token, divided by this, is in ``unit``."""

    @property
    def train(self) -> Source:
        """Training samples."""

    @property
    def validation(self) -> FiniteSource:
        """Held-out samples."""

    def report(self) -> dict[str, Any]:
        """What the run trains on, for the summary."""

    def yardstick(self) -> dict[str, float]:
        """Validation loss of trivial models, by name, in ``unit``."""
