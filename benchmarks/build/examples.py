"""Windows of a genome as examples: the stretches for each split, their letters, and backgrounds matched to them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from dnar2mae.benchmarks.build.config import BuildConfig
from dnar2mae.benchmarks.tasks.sequences import canonical
from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.genome.alphabet import SOFT_MASK, UNKNOWN, complement, decode
from dnar2mae.genome.intervals import Intervals, intervals_of
from dnar2mae.genome.store import Genome
from dnar2mae.random import Stream, draw

MAX_N_SHARE = 0.1
GC_BIN = 0.025
N_BIN = 0.025
"""Widths of the bins in which classes are matched: 5 bases of a window of 200."""
HELD_OUT_SHARE = 0.15
_BLOCKS, _LONGEST_BP = 100, 50_000
_POSITION = 0xB10C  # of the draw: apart from the draws of a run's own split


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


def partition(genome: Genome, config: BuildConfig) -> dict[str, Intervals]:
    """Divide a genome, by whole sequences or by blocks.

    Blocks of ``block_bp`` (by default a hundredth of the genome, at most 50 kb, at least ten gaps) are drawn at random,
    15 % (at least one) for dev and as many for test; half a gap is left out at both ends of each block.

    Returns
    -------
    dict
        For ``train``, ``dev`` and ``test`` the stretches in concatenated coordinates, sorted.

    Raises
    ------
    ConfigError
        A name is not a sequence's, or nothing is left to train on.
    SequenceError
        There are fewer than three blocks.
    """
    if config.test:
        return _by_sequence(genome, config)
    shortest = 10 * (config.gap_bp + config.length_bp)
    block_bp = config.block_bp or max(min(genome.total_bp // _BLOCKS, _LONGEST_BP), shortest)
    starts = [np.arange(a, b, block_bp) for a, b in genome.intervals.tolist()]
    ends = [np.minimum(s + block_bp, b) for s, b in zip(starts, genome.intervals[:, 1].tolist(), strict=True)]
    start, end = np.concatenate(starts), np.concatenate(ends)
    kept = intervals_of(start + config.gap_bp // 2, end - (config.gap_bp + 1) // 2)
    if len(kept) < 3:
        raise SequenceError(f"{genome.path}: {len(kept)} blocks; lower --block-bp ({block_bp}) to have three")
    word, *_ = draw(config.seed, Stream.SPLIT, np.arange(len(kept)), _POSITION)
    order = np.argsort(word, kind="stable")
    held = max(1, round(HELD_OUT_SHARE * len(kept)))
    chosen = {"test": order[:held], "dev": order[held : 2 * held], "train": order[2 * held :]}
    return {name: kept[np.sort(rows)] for name, rows in chosen.items()}


def inside(regions: Intervals, start: Int64[np.ndarray, " N"], length_bp: int) -> Bool[np.ndarray, " N"]:
    """Mark the windows that lie wholly in one of the sorted, disjoint regions."""
    if not len(regions):
        return np.zeros(len(start), bool)
    index = np.searchsorted(regions[:, 0], start, side="right") - 1
    return (index >= 0) & (start + length_bp <= regions[np.maximum(index, 0), 1])


def _by_sequence(genome: Genome, config: BuildConfig) -> dict[str, Intervals]:
    chosen = {}
    for name in ("dev", "test"):
        unknown = [sequence for sequence in getattr(config, name) if sequence not in genome.index]
        if unknown:
            raise ConfigError(f"--{name}: {genome.unknown(unknown[0])}")
        chosen[name] = {genome.index[sequence] for sequence in getattr(config, name)}
    chosen["train"] = set(range(len(genome))) - chosen["dev"] - chosen["test"]
    if not chosen["train"]:
        raise ConfigError(f"--dev and --test name every sequence of {genome.path}; nothing is left to train on")
    rows = {name: np.array(sorted(sequences), np.int64) for name, sequences in chosen.items()}
    return {name: intervals_of(genome.offsets[:-1][i], genome.offsets[1:][i]) for name, i in rows.items()}
