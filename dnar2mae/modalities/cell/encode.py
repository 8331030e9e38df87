"""Encoders of cells: rows of values become batches of tokens, of chosen genes or of all."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from dnar2mae.batch import Batch
from dnar2mae.modalities.cell.config import CellConfig
from dnar2mae.modalities.cell.store import CellRows
from dnar2mae.random import Stream, draw

Encoder = Callable[[CellRows, Int[np.ndarray, " B"], Int[np.ndarray, " B"]], Batch]
"""Maps cells, their sample ids, and the ids by which genes without a count are drawn, to a batch."""


class WholeEncoder:
    """An encoder of every gene in the order of the vocabulary. Genes that a file lacks are 0 and never predicted.

    Parameters
    ----------
    seed
        Not used.
    config
        ``normalisation`` is used.
    """

    def __init__(self, seed: int, config: CellConfig) -> None:
        self.config = config

    def __call__(self, rows: CellRows, sample_ids: Int[np.ndarray, " B"], draw_ids: Int[np.ndarray, " B"]) -> Batch:
        """Encode cells; one without any count has no token to predict."""
        values = rows.values.toarray()
        tokens = np.tile(np.arange(values.shape[1], dtype=np.int32), (len(values), 1))
        maskable = rows.present & (rows.library > 0)[:, None]
        shown = _with_library(values, rows.library, self.config)
        return Batch.of_arrays(tokens=tokens, maskable=maskable, sample_ids=sample_ids, values=shown)


class GeneEncoder:
    """An encoder of a set of genes: those with the highest values, and some without a count, drawn at random.

    A row is padded with tokens that belong to no document and repeat the row's own values.

    Parameters
    ----------
    seed
        Seed of the draws of genes without a count.
    config
        ``num_tokens``, ``zero_share`` and ``normalisation`` are used.
    """

    def __init__(self, seed: int, config: CellConfig) -> None:
        self.seed, self.config = seed, config

    def __call__(self, rows: CellRows, sample_ids: Int[np.ndarray, " B"], draw_ids: Int[np.ndarray, " B"]) -> Batch:
        """Encode cells; one without any count has no token to predict."""
        values = rows.values.toarray()
        tokens, real = self._choose(values, rows.present, draw_ids)
        count = np.maximum(real.sum(1, keepdims=True), 1)
        repeated = np.arange(tokens.shape[1]) % count
        shown = np.take_along_axis(values, np.take_along_axis(tokens, repeated, 1), 1)
        documents = np.where(real, 0, -1).astype(np.int32)
        documents[:, 0] = 0  # no row is all padding, even of a cell without counts
        parts = {"values": _with_library(shown, rows.library, self.config), "documents": documents}
        return Batch.of_arrays(tokens=tokens.astype(np.int32), maskable=real, sample_ids=sample_ids, **parts)

    def _choose(
        self, values: Float[np.ndarray, "B G"], present: Bool[np.ndarray, "B G"], draw_ids: Int[np.ndarray, " B"]
    ) -> tuple[Int[np.ndarray, "B T"], Bool[np.ndarray, "B T"]]:
        """Return the genes of each cell in the order of the vocabulary, padded with 0, and which are real."""
        share, num_genes = self.config.zero_share, values.shape[1]
        most = min(self.config.num_tokens, num_genes)
        words = draw(self.seed, Stream.GENES, draw_ids[:, None], np.arange(-(-num_genes // 4)))
        noise = np.concatenate(words, 1)[:, :num_genes] / 2**32
        expressed = (values != 0) & present
        silent = (values == 0) & present
        num_expressed = np.minimum(expressed.sum(1), max(most - int(most * share), 1))
        wanted = np.rint(num_expressed * share / (1 - share)).astype(np.int64)  # the share is of all its tokens
        num_silent = np.minimum(np.minimum(wanted, silent.sum(1)), most - num_expressed)
        highest = np.where(expressed, values + 1e-6 * noise, -np.inf)  # ties are broken by the draw
        drawn = np.where(silent, noise, -np.inf)
        picks = []
        for score, number in ((highest, num_expressed), (drawn, num_silent)):
            order = np.argsort(-score, axis=1, kind="stable")[:, :most]
            picks.append(np.where(np.arange(most) < number[:, None], order, num_genes))  # num_genes sorts last
        tokens = np.sort(np.concatenate(picks, 1), axis=1)[:, :most]
        real = tokens < num_genes
        return np.where(real, tokens, 0), real


def _with_library(
    values: Float[np.ndarray, "B T"], library: Float[np.ndarray, " B"], config: CellConfig
) -> Float[np.ndarray, "B T P"]:
    """Return the values that the model takes: alone, or each count with its cell's total."""
    parts = [values, np.broadcast_to(library[:, None], values.shape)] if config.normalisation == "counts" else [values]
    return np.stack(parts, -1).astype(np.float32, copy=False)
