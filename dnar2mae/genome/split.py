"""Which stretches of each genome are trained on and which are held out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from dnar2mae.config import DataConfig
from dnar2mae.errors import SequenceError
from dnar2mae.genome.bed import find_sequences
from dnar2mae.genome.intervals import Intervals, intervals_of, size
from dnar2mae.genome.store import Genome
from dnar2mae.random import Stream, draw, threshold


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Per genome the intervals of each part, in concatenated coordinates, each inside one sequence."""

    training: tuple[Intervals, ...]
    """Windows are drawn from these."""
    validation: tuple[Intervals, ...]
    """Held out; the sequences of ``config.test`` are in neither."""


def split(genomes: Sequence[Genome], config: DataConfig) -> Split:
    """Divide genomes into training and validation intervals.

    With names in ``config.validation`` those sequences are held out whole. Otherwise ``validation_share`` of
    each sequence is: the ends of ``validation_blocks`` equal segments of it (fewer where an end would be
    shorter than a window). Between a training and a held-out base of one sequence lie at least ``window_bp``
    bases of neither. A sequence whose share is too short for a window, or that would have no room left for a
    training window, is held out whole with probability ``validation_share``, else trained on whole; that draw
    depends on the order of the files and sequences and not on the run's seed.

    Parameters
    ----------
    genomes
        The genomes in the order of ``config.genomes``.
    config
        ``window_bp``, ``validation``, ``test``, ``validation_share`` and ``validation_blocks`` are used.

    Raises
    ------
    SequenceError
        A name is unknown; nothing is held out; nothing is left to train on.
    """
    is_test = _named(config.test, genomes, "test")
    is_held = _named(config.validation, genomes, "validation")
    training, validation = [], []
    for i, genome in enumerate(genomes):
        if config.validation:
            train, held = _whole(genome, ~is_held[i] & ~is_test[i]), _whole(genome, is_held[i])
        else:
            train, held = _blocks(genome, i, ~is_test[i], config)
        training.append(train)
        validation.append(held)
    files = ", ".join(str(genome.path) for genome in genomes)
    longest = max(int(genome.lengths.max()) for genome in genomes)
    if longest < config.window_bp:
        raise SequenceError(
            f"{files}: no sequence is as long as a window: the longest has {longest} bp, --data.window-bp is "
            f"{config.window_bp}"
        )
    if not any(size(train) for train in training):
        raise SequenceError(
            f"{files}: nothing is left to train on: every sequence is held out; name fewer in --data.validation and "
            "--data.test, or lower --data.validation-share or --data.window-bp"
        )
    if not any(len(held) for held in validation):
        raise SequenceError(
            f"{files}: nothing is held out: no sequence has room for a validation window (the longest has {longest} "
            f"bp, and --data.validation-share is {config.validation_share}); set --data.window-bp to at most "
            f"{int(longest * config.validation_share)} or name sequences in --data.validation"
        )
    return Split(training=tuple(training), validation=tuple(validation))


def _named(names: Sequence[str], genomes: Sequence[Genome], setting: str) -> list[Bool[np.ndarray, " S"]]:
    chosen = [np.zeros(len(genome), bool) for genome in genomes]
    for name in names:
        matches = find_sequences(name, genomes)
        if not matches:
            raise SequenceError(f"--data.{setting}: " + "; ".join(genome.unknown(name) for genome in genomes))
        for genome, sequence in matches:
            chosen[genome][sequence] = True
    return chosen


def _whole(genome: Genome, chosen: Bool[np.ndarray, " S"]) -> Intervals:
    return intervals_of(genome.offsets[:-1][chosen], genome.offsets[1:][chosen])


def _blocks(
    genome: Genome, number: int, usable: Bool[np.ndarray, " S"], config: DataConfig
) -> tuple[Intervals, Intervals]:
    share, window = config.validation_share, config.window_bp
    held_bp = (genome.lengths * share).astype(np.int64)
    train_bp = genome.lengths - held_bp
    # of the bases that are not held out, one window is the gap
    has_room = (held_bp >= window) & (train_bp >= 2 * window)
    # the seed is 0, not the run's: runs of several seeds must hold out the same sequences
    word, *_ = draw(0, Stream.SPLIT, np.arange(len(genome)), number)
    is_held = ~has_room & (word < threshold(share))
    # segments of the sequences with room; each but the first has a gap on both sides of its training part,
    # so it needs three windows there, and one in its held-out part
    cut = np.flatnonzero(has_room & usable)
    most = np.minimum(held_bp[cut] // window, train_bp[cut] // (3 * window))
    blocks = np.clip(most, 1, config.validation_blocks)
    # from here on one entry a segment: its sequence, the number of segments of that, and its own number there
    sequence = np.repeat(cut, blocks)
    count = np.repeat(blocks, blocks)
    block = np.arange(len(sequence)) - np.repeat(np.cumsum(blocks) - blocks, blocks)
    length, offset = genome.lengths[sequence], genome.offsets[sequence]
    start, end = offset + length * block // count, offset + length * (block + 1) // count
    # a segment's share may round to less than a window where the sequence's did not
    held_start = end - np.maximum(((end - start) * share).astype(np.int64), window)
    held = intervals_of(held_start, end)
    train = intervals_of(start + window * (block > 0), held_start - window)
    whole_train = _whole(genome, usable & ~has_room & ~is_held)
    whole_held = _whole(genome, usable & is_held)
    return _sorted(train, whole_train), _sorted(held, whole_held)


def _sorted(*parts: Intervals) -> Intervals:
    intervals = np.concatenate(parts)
    return intervals[np.argsort(intervals[:, 0])]
