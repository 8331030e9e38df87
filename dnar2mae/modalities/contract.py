"""The contract between a kind of data and the pretraining loop.

A kind of data is a :class:`Modality`: indexed sources of samples, a vocabulary, an embedder that turns a batch into
vectors, a head that turns vectors at masked places into losses, and the unit in which its held-out loss is reported.
The loop, the masks, the backbones, checkpoints and resuming are the same for all.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from dnar2mae.batch import FiniteSource, Layout, Source
from dnar2mae.tokenizers import Vocabulary

if TYPE_CHECKING:
    from dnar2mae.models.embedder import Embedder
    from dnar2mae.models.head import Head
    from dnar2mae.models.masked import MaskedModel


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
