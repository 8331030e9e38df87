"""The stretches of a genome that training, dev and test examples come from."""

import numpy as np
from jaxtyping import Bool, Int64

from dnar2mae.benchmarks.build.config import BuildConfig
from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.genome.intervals import Intervals, intervals_of
from dnar2mae.genome.store import Genome
from dnar2mae.random import Stream, draw

HELD_OUT_SHARE = 0.15
_BLOCKS, _LONGEST_BP = 100, 50_000
_POSITION = 0xB10C  # of the draw: apart from the draws of a run's own split


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
    shortest = 10 * (config.gap_bp + config.longest_bp)
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
        own_names = {sequence: genome.find(sequence) for sequence in getattr(config, name)}
        unknown = [sequence for sequence, own in own_names.items() if own is None]
        if unknown:
            raise ConfigError(f"--{name}: {genome.unknown(unknown[0])}")
        chosen[name] = {genome.index[own] for own in own_names.values() if own is not None}
    chosen["train"] = set(range(len(genome))) - chosen["dev"] - chosen["test"]
    if not chosen["train"]:
        raise ConfigError(f"--dev and --test name every sequence of {genome.path}; nothing is left to train on")
    rows = {name: np.array(sorted(sequences), np.int64) for name, sequences in chosen.items()}
    return {name: intervals_of(genome.offsets[:-1][i], genome.offsets[1:][i]) for name, i in rows.items()}
