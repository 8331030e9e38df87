"""The input of a model: a batch of samples, the layout of their tokens, and the sources of samples."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Lengths = tuple[tuple[int, ...], ...]
"""Tokens of each sequence of each sample. Plain integers: the host may use them without waiting for a device."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnMasks:
    """Masks of a batch: how many tokens they leave, and, where the model's kernels do not draw them, which ones."""

    num_predicted: tuple[int, ...]
    """Predicted tokens of each sample."""
    visible_lengths: Lengths | None = None
    """Visible tokens of each document of each sample, those without any left out; ``mae`` only."""
    predicted: Bool[Tensor, "B T"] | None = None
    """Tokens to predict; None: the model's kernels draw the masks again."""
    shown: Int[Tensor, "B T"] | None = None
    """What the encoder sees, ``mlm`` only: a token id, or 1 + the token whose values are shown, 0 for none."""
    visible: Bool[Tensor, "B T"] | None = None
    """What the encoder sees, ``mae`` only."""

    @property
    def num_visible(self) -> tuple[int, ...]:
        """Visible tokens of each sample."""
        assert self.visible_lengths is not None, "counted for mae only"
        return tuple(map(sum, self.visible_lengths))


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one step, ready for the model."""

    tokens: Int[Tensor, "B T"]
    """Token ids, ``int32``: bases, word pieces, genes, or the positions of patches."""
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
    lengths: Lengths | None = None
    """Tokens of each document of each sample; None: not counted yet, or no documents."""
    masks: DrawnMasks | None = None
    """Masks of the step, drawn ahead of it; None: the model draws them."""

    @classmethod
    def of_arrays(cls, **arrays: np.ndarray | None) -> "Batch":
        """Return the batch of NumPy arrays, by the names of the fields; by default every token weighs 1."""
        tensors: dict[str, Any] = {name: torch.from_numpy(array) for name, array in arrays.items() if array is not None}
        return cls(**{"weight": torch.ones(tensors["tokens"].shape)} | tensors)

    def to(self, device: torch.device) -> "Batch":
        """Copy to a device, asynchronously where the memory is pinned."""
        return _changed(self, lambda x: x.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """Copy to page-locked memory (what the data loader calls)."""
        return _changed(self, lambda x: x.pin_memory())

    def split(self, size: int) -> "list[Batch]":
        """Cut into micro-batches of this many samples."""
        starts = range(0, len(self.tokens), size)
        # tuples have an entry for each sample, as tensors do
        return [_changed(self, *2 * [lambda x, start=start: x[start : start + size]]) for start in starts]

    def exists(self) -> Bool[Tensor, "B T"]:
        """Return which tokens are not padding."""
        return torch.ones_like(self.maskable) if self.documents is None else self.documents >= 0


def _changed(parts: Any, change_tensor: Any, change_integers: Any = lambda x: x) -> Any:
    """Return a copy of a dataclass with all its tensors, and those of dataclasses in it, changed alike."""
    changed: dict[str, Any] = {}
    for name in (field.name for field in fields(parts)):
        part = getattr(parts, name)
        if isinstance(part, Tensor):
            part = change_tensor(part)
        elif isinstance(part, tuple):
            part = change_integers(part)
        elif part is not None:
            part = _changed(part, change_tensor, change_integers)
        changed[name] = part
    return type(parts)(**changed)


def sequence_lengths(chosen: Bool[Tensor, "B T"], documents: Int[Tensor, "B T"] | None) -> Lengths:
    """Count the chosen tokens of each document of each row; documents without any are left out.

    Parameters
    ----------
    chosen
        Tokens to count.
    documents
        Number of each token's document, ascending along a row; None: each row is one, and counts even if empty.
    """
    if documents is None:
        return tuple((number,) for number in chosen.sum(1).tolist())
    row, column = chosen.nonzero(as_tuple=True)
    starts = torch.stack([row, documents[row, column]], dim=1)
    sequences, counts = torch.unique_consecutive(starts, dim=0, return_counts=True)
    lengths: list[list[int]] = [[] for _ in range(len(chosen))]
    for of_row, count in zip(sequences[:, 0].tolist(), counts.tolist(), strict=True):
        lengths[of_row].append(count)
    return tuple(map(tuple, lengths))


def flat_lengths(lengths: Lengths) -> tuple[int, ...]:
    """Return the lengths of all sequences of a batch, one row after the other."""
    return tuple(length for row in lengths for length in row)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How the tokens of a sample are arranged, which decides the backbones that fit."""

    axes: tuple[int, ...]
    """(T,) for a sequence, (rows, columns) for a grid, () for a set without neighbours."""
    tokens: int
    """Tokens of a sample, padding included."""
    aligned: bool = True
    """Token t means the same in every sample (a pixel position, a gene), and there is no padding."""
    packed: bool = False
    """A row may hold several documents."""


SEQUENCE = Layout(axes=(0,), tokens=0)
"""A sequence of any length."""


@runtime_checkable
class Source(Protocol):
    """Samples by index: sample ``i`` is a pure function of the run's seed and ``i``. Must be picklable."""

    def batch(self, sample_ids: Int[np.ndarray, " B"]) -> Batch:
        """Read the samples of these indices, on the CPU."""


@runtime_checkable
class FiniteSource(Source, Protocol):
    """A source with a number of samples, as validation data has."""

    def __len__(self) -> int:
        """Count the samples."""


@runtime_checkable
class LabelledSource(FiniteSource, Protocol):
    """A source whose samples may have classes, which probes predict and pretraining never sees."""

    labels: Int[np.ndarray, " N"] | None
    """Class of each sample as an index into ``classes``; None where they are not known."""
    classes: tuple[str, ...] | None
    """Names of the classes, sorted."""


def batches_of(source: Source, sample_ids: Int[np.ndarray, " S"], size: int) -> Iterator[Batch]:
    """Read samples in their order, ``size`` at a time."""
    for start in range(0, len(sample_ids), size):
        yield source.batch(sample_ids[start : start + size])


def evenly_spaced(total: int, number: int) -> np.ndarray:
    """Return at most ``number`` indices spread over ``range(total)``."""
    if total <= number:
        return np.arange(total)
    return (np.arange(number) * total) // number
