"""The contract between a modality (a kind of data) and the pretraining loop.

A :class:`Modality` has indexed sources of samples, a vocabulary, an embedder that turns a batch into vectors, a head
that turns vectors at masked positions into losses, and the unit in which its held-out loss is reported.
The loop, the masks, the backbones, checkpoints and resuming are the same for all.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from dnar2mae.batch import Batch, FiniteSource, Layout, Source, batches_of
from dnar2mae.errors import ConfigError
from dnar2mae.masking import MaskPlan
from dnar2mae.modalities.options import EmbedOptions
from dnar2mae.models.embedder import Embedder
from dnar2mae.models.head import Head
from dnar2mae.models.hidden_states import pooled_units
from dnar2mae.models.masked import MaskedModel
from dnar2mae.storage.progress import progress_bar
from dnar2mae.tokenizers import Vocabulary

_RAW_ROWS = 1024  # samples whose raw features are read at once


class Embeddings(NamedTuple):
    """Vectors of samples, computed block by block while they are consumed."""

    num_rows: int
    """Vectors in all: one a sample, or several (one a token)."""
    table: pd.DataFrame
    """One row per sample, written beside the vectors."""
    blocks: Iterator[Float[np.ndarray, "_ W"]]
    """The vectors in order, float32; NaN for a sample without a token to embed."""


Yardsticks = dict[str, dict[str, Float64[np.ndarray, "R S"]]]
"""Losses of trivial models by family and name: their sum over each sample, one row per mask plan, in the unit."""
Copies = Callable[[Float[Tensor, " M"], Int[Tensor, " M"], Batch, Bool[Tensor, "B T"]], Float[Tensor, " M"]]
"""What training data hold of samples: takes the losses of tokens, in nats, their positions in ``tokens.flatten()``, the
batch and which of its tokens are hidden, and returns the losses given what copies say of them too."""


class Modality(ABC):
    """A kind of data. A subclass is built from the run's configuration, and opens its data when they are first used.

    It takes ``(config, saved)``: the :class:`dnar2mae.config.PretrainConfig`; and, when a trained model is read back
    (its data may be gone by then), the run directory that :meth:`save` has written to, else None.
    """

    vocabulary: Vocabulary
    """Ids by role. Where tokens carry values, id 0 is [MASK] and id t + 1 means the values of token t."""
    layout: Layout
    unit: str
    """Name of the reported loss's unit, e.g. "bits per base"."""
    unit_size: float = 1.0
    """Losses summed over tokens, divided by the units these stand for and by this, are in ``unit``."""
    embed_options: type[EmbedOptions] = EmbedOptions
    """Class of the options of :meth:`read_with` and :meth:`embeddings`."""

    @property
    @abstractmethod
    def train(self) -> Source:
        """Training samples."""

    @property
    @abstractmethod
    def validation(self) -> FiniteSource:
        """Held-out samples."""

    @abstractmethod
    def embedder(self) -> Embedder:
        """Build the embedder, which turns a batch into vectors."""

    @abstractmethod
    def head(self) -> Head:
        """Build the head, which turns vectors at masked positions into losses."""

    def open(self) -> None:
        """Open training and held-out data, so that their faults are reported before anything is written."""
        _ = self.train, self.validation

    def report(self) -> dict[str, Any]:
        """Return a description of the training data, for the summary."""
        return {}

    def fingerprint(self) -> str:
        """Return a digest of the content of all training and held-out files, independent of their names and folders.

        A resumed run whose data have another digest is refused; by default nothing is compared.
        """
        return ""

    def yardstick(self) -> dict[str, float]:
        """Return the held-out loss of trivial models fitted on the training data, by name, in ``unit``."""
        return {}

    def masked_yardsticks(self, plans: Sequence[MaskPlan], sample_ids: Int[np.ndarray, " S"]) -> Yardsticks:
        """Return the losses of trivial models, fitted on the training data, at the masks of the model's own scores.

        Parameters
        ----------
        plans
            Masks, one plan per ratio.
        sample_ids
            Held-out samples.

        Returns
        -------
        dict
            By family and name; none by default. Divided by the units of the tokens that a plan masks (their
            ``Batch.units``, else one each), the sums are losses in ``unit``.
        """
        return {}

    def classes_of(self, sample_ids: Int[np.ndarray, " S"]) -> list[str]:
        """Return the class of held-out samples, by which their losses are reported; empty where there are none."""
        return []

    def copied_samples(self, sample_ids: Int[np.ndarray, " S"]) -> Bool[np.ndarray, " S"]:
        """Return which held-out samples have a part that is in the training data too; by default none is looked for."""
        return np.zeros(len(sample_ids), bool)

    def copies(self, sample_ids: Int[np.ndarray, " S"]) -> Copies | None:
        """Look held-out samples up in the training data; by default there is nothing to look up."""
        return None

    def locate(self, sample_ids: Int[np.ndarray, " S"]) -> pd.DataFrame:
        """Return where held-out samples lie in the data, a row each; by default their numbers."""
        return pd.DataFrame({"sample": sample_ids})

    def tokens_of(self, text: str) -> Int[np.ndarray, " T"]:
        """Return the token ids of a text (of DNA its letters), as prompts are read.

        Raises
        ------
        ConfigError
            If tokens of this modality stand for no text.
        """
        raise ConfigError(f"{type(self).__name__}: its tokens stand for no text")

    def text_of(self, ids: Int[np.ndarray, " T"]) -> str:
        """Return the text that tokens stand for; raises as :meth:`tokens_of`."""
        raise ConfigError(f"{type(self).__name__}: its tokens stand for no text")

    def save(self, folder: Path) -> None:  # noqa: B027 - most modalities need nothing
        """Write the files that a trained model needs besides its weights (a vocabulary, a tokenizer)."""

    def illustrate(self, model: MaskedModel, path: Path | None) -> None:  # noqa: B027 - nor do they have a picture
        """Draw the model's predictions for some held-out samples.

        Called at each validation for ``held_out-last``, and for ``held_out-best`` where the loss is the lowest so far.

        Parameters
        ----------
        model
            The model at this step.
        path
            File to write, without suffix; None on ranks that compute along but write nothing.
        """

    def read(self, path: Path) -> FiniteSource:
        """Return the samples of a file or folder in their order, unmasked, for embeddings and probes.

        Where they may have classes, the source is a :class:`LabelledSource`. It may have a ``table``, a data frame that
        describes each sample and is written to outputs; and a method ``column(name)`` that returns the texts of one of
        the file's own columns, from which probes take labels.

        Raises
        ------
        ConfigError
            If this modality has no such reader.
        """
        raise ConfigError(f"{path}: {type(self).__name__} does not read samples to embed")

    def read_with(self, path: Path, options: Any) -> FiniteSource:
        """Return the samples of a file under ``options``, of the type :attr:`embed_options`; by default :meth:`read`.

        Raises
        ------
        Dnar2maeError
            As :meth:`read`, or if an option does not fit the file.
        """
        return self.read(path)

    def embeddings(
        self, model: MaskedModel, source: FiniteSource, options: Any = None, *, progress: bool = False
    ) -> Embeddings:
        """Embed samples, by default by :meth:`dnar2mae.models.MaskedModel.pooled`, or mean and maximum of hidden units.

        Parameters
        ----------
        model
            Of a run on the same modality, in evaluation mode.
        source
            Samples as :meth:`read` or :meth:`read_with` returns them.
        options
            Of the type :attr:`embed_options`; by default its defaults.
        progress
            Show a progress bar on a terminal.

        Raises
        ------
        ConfigError
            If the options name another layer than the last one or ``units``.
        """
        table = getattr(source, "table", None)
        if table is None:
            table = pd.DataFrame({"sample": np.arange(len(source))})
        options = options or EmbedOptions()
        if options.layer not in {-1, "units"}:
            raise ConfigError(f"--layer must be -1 or units, got {options.layer}: layers by number are for DNA")
        return Embeddings(len(source), table, _pooled(model, source, options, progress))

    def raw_features(self, source: FiniteSource) -> dict[str, Any]:
        """Return what a classifier without a network would take of each sample: the floor under embeddings.

        Parameters
        ----------
        source
            Samples as :meth:`read` returns them.

        Returns
        -------
        dict
            By name, ``[N, F]`` in the order of the samples, dense or sparse; what is fitted (components, weights of
            rare n-grams) is fitted on all of them, without labels. By default the numbers that tokens carry, where
            these are the same tokens in every sample; else none.
        """
        if not self.layout.aligned or not len(source) or source.batch(np.arange(1)).values is None:
            return {}
        values = [batch.values for batch in batches_of(source, np.arange(len(source)), _RAW_ROWS)]
        return {"values": np.concatenate([part.flatten(1).numpy() for part in values if part is not None])}

    def write(self, vectors: Float[np.ndarray, "N D"], table: pd.DataFrame, path: Path, out: Path) -> None:
        """Write the vectors of all samples in ``path`` as an AnnData: ``X`` and, from ``table``, ``obs``."""
        import anndata

        texts = [name for name in table.columns if pd.api.types.is_string_dtype(table[name])]
        described = table.astype(dict.fromkeys(texts, object))  # anndata cannot write the string type of pandas 3
        described.index = pd.Index(np.arange(len(table)).astype(str), dtype=object)
        dimensions = pd.DataFrame(index=pd.Index(np.arange(vectors.shape[1]).astype(str), dtype=object))
        anndata.AnnData(vectors, obs=described, var=dimensions).write_h5ad(out)


def _pooled(
    model: MaskedModel, source: FiniteSource, options: EmbedOptions, progress: bool
) -> Iterator[Float[np.ndarray, "_ W"]]:
    device = next(model.parameters()).device
    tokens = options.batch_tokens or (8192 if device.type == "cpu" else 65_536)
    size = max(tokens // max(model.layout.tokens, 1), 1)
    with progress_bar("embedding", len(source), show=progress) as bar:
        for batch in batches_of(source, np.arange(len(source)), size):
            with torch.inference_mode():  # not over the yield, where it would reach the caller
                moved = batch.to(device)
                vectors = pooled_units(model, moved) if options.layer == "units" else model.pooled(moved)
                vectors[~batch.maskable.any(1)] = torch.nan
            yield vectors.cpu().numpy()
            bar.advance(len(batch.tokens))
