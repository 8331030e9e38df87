"""Windows of a genome as examples: their letters, and backgrounds matched to them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from dnar2mae.benchmarks.tasks.sequences import canonical
from dnar2mae.genome.alphabet import SOFT_MASK, UNKNOWN, complement, decode
from dnar2mae.genome.store import Genome

MAX_N_SHARE = 0.1
GC_BIN = 0.025
N_BIN = 0.025
"""Widths of the bins in which classes are matched: 5 bases of a window of 200."""


class Examples(NamedTuple):
    """Windows of one length."""

    start: Int64[np.ndarray, " N"]
    """First base in concatenated coordinates."""
    is_reverse: Bool[np.ndarray, " N"]
    """Read as the reverse complement."""
    label: Int64[np.ndarray, " N"]
    """Class id."""

    def take(self, rows: np.ndarray) -> "Examples":
        """Return rows by index or mask."""
        return Examples(*(column[rows] for column in self))


def concatenate(*parts: Examples) -> Examples:
    """Put examples one after another."""
    return Examples(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def window_codes(genome: Genome, examples: Examples, length_bp: int) -> UInt8[np.ndarray, "N L"]:
    """Return upper-case base codes, each window in its direction of reading."""
    codes = genome.windows(examples.start, length_bp) & np.uint8(SOFT_MASK - 1)
    reverse = examples.is_reverse[:, None]
    return np.where(reverse, complement(codes[:, ::-1]), codes)


def letters(codes: UInt8[np.ndarray, "N L"]) -> list[str]:
    """Return one string a window."""
    text, length_bp = decode(codes.ravel()), codes.shape[1]
    return [text[i : i + length_bp] for i in range(0, len(text), length_bp)]


def fit_for_use(codes: UInt8[np.ndarray, "N L"], seen: set[str]) -> Bool[np.ndarray, " N"]:
    """Mark windows with few N and a sequence not seen before, on either strand; add these to ``seen``."""
    few_n = (codes == UNKNOWN).mean(1) <= MAX_N_SHARE
    kept = np.zeros(len(codes), bool)
    for row, (text, usable) in enumerate(zip(letters(codes), few_n, strict=True)):
        key = canonical(text)
        if usable and key not in seen:
            seen.add(key)
            kept[row] = True
    return kept


def matched(
    codes: UInt8[np.ndarray, "N L"], is_background: Bool[np.ndarray, " N"], rng: np.random.Generator
) -> Int64[np.ndarray, " M"]:
    """Choose as many background windows as others in every bin of GC share and N share.

    What has no counterpart in its bin is left out, of either kind, so that neither share tells the classes apart
    beyond a bin's width (2.5 points).

    Returns
    -------
    array
        Rows, ascending.
    """
    is_known = codes != UNKNOWN
    gc = ((codes == 1) | (codes == 2)).sum(1) / np.maximum(is_known.sum(1), 1)
    # ceil, so that windows without any N have a bin of their own.
    bins = np.stack([gc // GC_BIN, np.ceil((~is_known).mean(1) / N_BIN)], axis=1)
    _, index = np.unique(bins, axis=0, return_inverse=True)
    chosen = []
    for of_bin in range(index.max(initial=-1) + 1):
        foreground = np.flatnonzero((index == of_bin) & ~is_background)
        background = np.flatnonzero((index == of_bin) & is_background)
        count = min(len(foreground), len(background))
        chosen += [rng.permutation(foreground)[:count], rng.permutation(background)[:count]]
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)
