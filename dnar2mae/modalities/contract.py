"""The contract between a kind of data and the pretraining loop.

A kind of data is a :class:`Modality`: indexed sources of samples, a vocabulary, an embedder that turns a batch into
vectors, a head that turns vectors at masked places into losses, and the unit in which its held-out loss is reported.
The loop, the masks, the backbones, checkpoints and resuming are the same for all.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dnar2mae.tokenizers import Vocabulary

if TYPE_CHECKING:
    from dnar2mae.models.embedder import Embedder
    from dnar2mae.models.head import Head
    from dnar2mae.models.masked import MaskedModel


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


class Modality(ABC):
    """One kind of data. A subclass is made from the run's configuration, and opens its data when first asked.

    It takes ``(config, saved)``: the :class:`dnar2mae.config.PretrainConfig`, and the run directory that
    :meth:`save` has written to when a trained model is read back (its data may be gone by then), else None.
    """

    vocabulary: Vocabulary
    """Ids by role. Where tokens carry values, [MASK] is id 0 and token t is shown as id t + 1."""
    layout: Layout
    unit: str
    """Name of the reported loss's unit, e.g. "bits per base"."""
    output_suffixes: tuple[str, ...] = ()
    """Kinds of file, besides .npy and .parquet, that :meth:`write` can write."""
    unit_size: float = 1.0
    """Losses summed over tokens, divided by the units these stand for and by this, are in ``unit``."""

    @property
    @abstractmethod
    def train(self) -> Source:
        """Training samples."""

    @property
    @abstractmethod
    def validation(self) -> FiniteSource:
        """Held-out samples."""

    @abstractmethod
    def embedder(self) -> "Embedder":
        """Build what turns a batch into vectors."""

    @abstractmethod
    def head(self) -> "Head":
        """Build what turns vectors at masked places into losses."""

    def open(self) -> None:
        """Open training and held-out data, so that what is wrong with them is told before anything is written."""
        _ = self.train, self.validation

    def report(self) -> dict[str, Any]:
        """What the run trains on, for the summary."""
        return {}

    def fingerprint(self) -> str:
        """Digest of the content of all files that a run trains on and is judged by, whatever their names and places.

        A resumed run whose data give another one is refused; by default nothing is compared.
        """
        return ""

    def yardstick(self) -> dict[str, float]:
        """Held-out loss of trivial models fitted on the training data, by name, in ``unit``."""
        return {}

    def save(self, folder: Path) -> None:  # noqa: B027 - most kinds need nothing
        """Write into a run directory what a trained model needs besides its weights (a vocabulary, a tokenizer)."""

    def illustrate(self, model: "MaskedModel", path: Path | None) -> None:  # noqa: B027 - nor a picture
        """Draw what the model makes of some held-out samples.

        Called at each validation for ``held_out-last``, and for ``held_out-best`` where the loss is the lowest so far.

        Parameters
        ----------
        model
            As it is now.
        path
            File to write, still without a suffix; None on ranks that compute along but write nothing.
        """

    def read(self, path: Path) -> FiniteSource:
        """Samples of a file or folder in their order, unmasked, as embeddings and probes take them.

        Where they may have classes, the source is a :class:`LabelledSource`.
        The source may have a ``table``, a data frame that describes each sample; outputs then hold it; and a method
        ``column(name)`` that gives the texts of one of the file's own columns, from which probes take labels.

        Raises
        ------
        ConfigError
            If this kind of data has no such reader.
        """
        from dnar2mae.errors import ConfigError

        raise ConfigError(f"{path}: {type(self).__name__} does not read samples to embed")

    def write(self, vectors: Float[np.ndarray, "N D"], path: Path, out: Path) -> None:
        """Write the vectors of all samples that :meth:`read` gives of ``path``, as the suffix of ``out`` asks.

        Raises
        ------
        ConfigError
            If this kind of data has no format of its own.
        """
        from dnar2mae.errors import ConfigError

        raise ConfigError(f"{out}: {type(self).__name__} writes .npy and .parquet only")
