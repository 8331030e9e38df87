"""Cells as samples: rows of values become tokens and values; training cells shuffled, or a list; who is held out."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from dnar2mae.batch import Batch
from dnar2mae.errors import ConfigError, DataError
from dnar2mae.modalities.cell.config import CellConfig
from dnar2mae.modalities.cell.files import CellFile
from dnar2mae.modalities.cell.store import CellRows, CellStore, join
from dnar2mae.random import Stream, draw

Encoder = Callable[[CellRows, Int[np.ndarray, " B"], Int[np.ndarray, " B"]], Batch]
"""Maps cells, their sample ids, and the ids by which genes without a count are drawn, to a batch."""
_LEAST_SD = 1e-6  # a smaller one is rounding
_MOST_SD = 10.0  # scaled values are clipped there, as analyses with scanpy do: a rare gene would outweigh all others
_SPLIT_SEED = 0x5E11  # any constant, so that runs of all seeds hold out the same cells


class GeneScale(NamedTuple):
    """What values of ``scaled`` are measured by."""

    mean: Float[np.ndarray, " G"]
    sd: Float[np.ndarray, " G"]
    """1 where all training cells are equal."""

    @classmethod
    def of_moments(cls, mean: Float[np.ndarray, " G"], variance: Float[np.ndarray, " G"]) -> "GeneScale":
        """Return the scale of these means and variances."""
        sd = np.sqrt(np.maximum(variance, 0))
        return cls(mean, np.where(sd > _LEAST_SD, sd, 1.0))

    def scaled(self, values: Float[np.ndarray, "B T"], gene: Any) -> Float[np.ndarray, "B T"]:
        """Return values in standard deviations from the mean of their genes, which an index of [G] names."""
        scaled = values - self.mean[gene]
        scaled /= self.sd[gene]
        return np.clip(scaled, -_MOST_SD, _MOST_SD, out=scaled)


class WholeEncoder:
    """An encoder of every gene in the order of the vocabulary. Genes that a file lacks are 0 and never predicted.

    Parameters
    ----------
    seed
        Not used.
    config
        ``normalisation`` is used.
    scale
        Of values that are to be scaled.
    """

    def __init__(self, seed: int, config: CellConfig, scale: GeneScale | None = None) -> None:
        self.config, self.scale = config, scale

    def __call__(self, rows: CellRows, sample_ids: Int[np.ndarray, " B"], draw_ids: Int[np.ndarray, " B"]) -> Batch:
        """Encode cells; one without any count has no token to predict."""
        values = rows.values.toarray()
        tokens = np.tile(np.arange(values.shape[1], dtype=np.int32), (len(values), 1))
        maskable = rows.present & (rows.library > 0)[:, None]
        if self.scale is not None:
            values = self.scale.scaled(values, slice(None))
            values[~rows.present] = 0
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
    scale
        Of values that are to be scaled.
    """

    def __init__(self, seed: int, config: CellConfig, scale: GeneScale | None = None) -> None:
        self.seed, self.config, self.scale = seed, config, scale

    def __call__(self, rows: CellRows, sample_ids: Int[np.ndarray, " B"], draw_ids: Int[np.ndarray, " B"]) -> Batch:
        """Encode cells; one without any count has no token to predict."""
        values = rows.values.toarray()
        tokens, real = self._choose(values, rows.present, draw_ids)
        count = np.maximum(real.sum(1, keepdims=True), 1)
        repeated = np.arange(tokens.shape[1]) % count
        repeated_genes = np.take_along_axis(tokens, repeated, 1)
        shown = np.take_along_axis(values, repeated_genes, 1)
        if self.scale is not None:
            shown = self.scale.scaled(shown, repeated_genes)
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


class TrainingCells:
    """Epochs of shuffled cells; sample ``i`` is cell ``i mod N`` of the order of epoch ``i // N``.

    The cells of one buffer are in memory at a time, read in blocks of neighbours.

    Parameters
    ----------
    store
        All cells.
    cells
        Numbers of the training cells, sorted.
    encode
        Turns rows into a batch.
    seed
        Seed of the order.
    block, buffer
        See :func:`dnar2mae.modalities.cell.encode.epoch_order`.
    """

    def __init__(
        self, store: CellStore, cells: Int[np.ndarray, " N"], encode: Encoder, seed: int, *, block: int, buffer: int
    ) -> None:
        self.store, self.cells, self.encode, self.seed = store, cells, encode, seed
        self.block, self.size = block, -(-buffer // block) * block  # whole blocks
        self._order: tuple[int, Any] = (-1, None)
        self._buffer: tuple[tuple[int, int], Any] = ((-1, -1), None)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the buffer: another process reads its own."""
        return {**self.__dict__, "_order": (-1, None), "_buffer": ((-1, -1), None)}

    def batch(self, sample_ids: Int[np.ndarray, " B"]) -> Batch:
        """Return the samples of these indices."""
        epoch, position = np.divmod(sample_ids, len(self.cells))
        number = position // self.size
        cuts = np.flatnonzero((np.diff(epoch) != 0) | (np.diff(number) != 0)) + 1
        parts = []
        for stretch in np.split(np.arange(len(sample_ids)), cuts):
            key = int(epoch[stretch[0]]), int(number[stretch[0]])
            parts.append(self._rows(key).take(position[stretch] - key[1] * self.size))
        return self.encode(join(parts), sample_ids, sample_ids)

    def _rows(self, key: tuple[int, int]) -> CellRows:
        if self._buffer[0] != key:
            epoch, number = key
            if self._order[0] != epoch:
                order = epoch_order(self.seed, epoch, len(self.cells), block=self.block, buffer=self.size)
                self._order = epoch, order
            members = self._order[1][number * self.size : (number + 1) * self.size]
            self._buffer = key, None  # frees the last one before the next is read
            self._buffer = key, self.store.rows(self.cells[members])
        return self._buffer[1]


class ListedCells:
    """A list of cells in its own order.

    Parameters
    ----------
    store
        All cells.
    cells
        Numbers of the cells.
    encode
        Turns rows into a batch.
    alike
        Draw the genes without a count alike for all cells, so that a sample is independent of its position.
    """

    def __init__(self, store: CellStore, cells: Int[np.ndarray, " N"], encode: Encoder, *, alike: bool = False) -> None:
        self.store, self.cells, self.encode, self.alike = store, cells, encode, alike

    def __len__(self) -> int:
        """Count the cells."""
        return len(self.cells)

    @property
    def table(self) -> pd.DataFrame:
        """Name of each cell."""
        return pd.DataFrame({"cell": self.store.cell_names[self.cells]})

    def column(self, name: str) -> np.ndarray:
        """Return the texts of a column of obs.

        Raises
        ------
        DataError
            If a file has no such column.
        """
        return np.concatenate([file.column(name) for file in self.store.files])[self.cells]

    def contents(self, sample_ids: Int[np.ndarray, " B"]) -> list[bytes]:
        """Return what the files have of these cells: names of genes with a value, and the values."""
        return self.store.contents(self.cells[sample_ids])

    def batch(self, sample_ids: Int[np.ndarray, " B"]) -> Batch:
        """Return the cells at these positions of the list."""
        draw_ids = np.zeros_like(sample_ids) if self.alike else sample_ids
        return self.encode(self.store.rows(self.cells[sample_ids]), sample_ids, draw_ids)


def held_out_cells(files: Sequence[CellFile], config: CellConfig) -> Bool[np.ndarray, " N"]:
    """Return which cells are held out.

    By default the share ``validation_share`` of all cells whose draws are lowest; a draw depends on the cell's
    number alone, so that runs of any seed hold out the same cells. With ``validation_column``, all cells of the values
    named.

    Raises
    ------
    DataError
        If there is one cell only, or a file lacks the column.
    ConfigError
        If a value occurs nowhere, or no cell is left to train on.
    """
    total = sum(file.num_cells for file in files)
    if total < 2:
        raise DataError(f"{files[0].path}: training needs two cells or more, one to hold out, got {total}")
    if config.validation_column is not None:
        return _by_column(files, config.validation_column, config.validation_values)
    count = min(max(round(config.validation_share * total), 1), total - 1)
    lowest = np.argsort(draw(_SPLIT_SEED, Stream.SPLIT, np.arange(total))[0], kind="stable")[:count]
    held_out = np.zeros(total, bool)
    held_out[lowest] = True
    return held_out


def _by_column(files: Sequence[CellFile], column: str, values: Sequence[str]) -> Bool[np.ndarray, " N"]:
    by_cell = np.concatenate([file.column(column) for file in files])
    unknown = sorted(set(values) - set(by_cell.tolist()))
    if unknown:
        there = ", ".join(sorted(set(by_cell.tolist()))[:10])
        raise ConfigError(f"--data.validation-values must be values of {column} ({there}), got {', '.join(unknown)}")
    held_out = np.isin(by_cell, values)
    if held_out.all():
        raise ConfigError(f"--data.validation-values: all cells are held out by {column}; leave some to train on")
    return held_out


def epoch_order(seed: int, epoch: int, total: int, *, block: int, buffer: int) -> Int[np.ndarray, " N"]:
    """Return the order of ``total`` cells in an epoch.

    Blocks of ``block`` neighbours are shuffled; then the cells within each stretch of ``buffer`` are. So a reader that
    keeps ``buffer`` cells in memory reads few long stretches.

    Parameters
    ----------
    seed, epoch
        Seed and counter of the draws.
    total
        Number of cells.
    block, buffer
        Numbers of cells; the buffer is a multiple of the block.
    """
    num_blocks = -(-total // block)
    blocks = np.argsort(draw(seed, Stream.WINDOW, epoch, np.arange(num_blocks))[0], kind="stable")
    order = (blocks[:, None] * block + np.arange(block)).ravel()
    order = order[order < total]
    position = np.arange(total)
    keys = draw(seed, Stream.WINDOW, epoch, num_blocks + position)[0]  # after the counters that the blocks used
    return order[np.lexsort((keys, position // buffer))]
