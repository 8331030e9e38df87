"""The held-out cells, and the order of training: blocks of neighbours at random, then cells within a buffer."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from dnar2mae.errors import ConfigError, DataError
from dnar2mae.modalities.cell.config import CellConfig
from dnar2mae.modalities.cell.files import CellFile
from dnar2mae.random import Stream, draw

_SPLIT_SEED = 0x5E11  # any constant, so that runs of all seeds hold out the same cells


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
