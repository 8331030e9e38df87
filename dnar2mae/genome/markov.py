"""The yardstick: what Markov models of order 0 to 9 make of the held-out bases.

A masked model that predicts held-out bases no better than these has learned k-mer frequencies and nothing
else.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, Int64, UInt8

from dnar2mae.errors import SequenceError
from dnar2mae.genome.alphabet import SOFT_MASK, UNKNOWN
from dnar2mae.genome.intervals import Intervals, size
from dnar2mae.genome.store import Genome
from dnar2mae.storage.progress import progress_bar

MAX_ORDER = 9
_K = MAX_ORDER + 1
_BATCH_BP = 1 << 20  # temporaries that stay in the cache


@dataclass(frozen=True, kw_only=True, slots=True)
class MarkovYardstick:
    """Held-out bits per base of Markov models."""

    bits: tuple[float, ...]
    """Bits per base by order, 0 to 9."""

    @property
    def best_order(self) -> int:
        """The order with the fewest bits per base."""
        return int(np.argmin(self.bits))

    @property
    def best_bits(self) -> float:
        """Bits per base at that order."""
        return self.bits[self.best_order]


def markov_yardstick(
    genomes: Sequence[Genome],
    training: Sequence[Intervals],
    validation: Sequence[Intervals],
    *,
    progress: bool = True,
) -> MarkovYardstick:
    r"""Fit Markov models on the training intervals, score them on the validation intervals.

    .. math:: -\frac{1}{n} \sum_{i=1}^n \log_2 \frac{c(x_{i-m} \dots x_i) + 1/2}{c(x_{i-m} \dots x_{i-1}) + 2}

    with counts ``c`` of both strands of the training intervals, add-half (Krichevsky-Trofimov) smoothing, and
    order ``m``.

    Parameters
    ----------
    genomes
        The genomes; all count alike, base by base.
    training, validation
        Intervals of each genome in concatenated coordinates, each inside one sequence.
    progress
        Show a progress bar on a terminal when this takes over a second.

    Returns
    -------
    MarkovYardstick
        Bits per base of each order. Every order is fitted and scored on the same bases of both strands:
        those whose nine predecessors are known and in the same interval.

    Raises
    ------
    SequenceError
        There are no ten known bases in a row in the validation intervals.
    """
    total = sum(size(intervals) for part in (training, validation) for intervals in part)
    with progress_bar("Markov models", total, show=progress) as update:
        fitted = _count(genomes, training, update, 0)
        held = _count(genomes, validation, update, sum(size(intervals) for intervals in training))
    if not held.any():
        raise SequenceError(f"Markov models need {_K} known bases in a row in the validation intervals; there are none")
    bits = []
    for order in range(_K):
        # Rows: contexts of the last `order` bases; columns: the base that follows.
        model, scored = (table.reshape(-1, 4**order, 4).sum(axis=0) for table in (fitted, held))
        probability = (model + 0.5) / (model.sum(axis=1, keepdims=True) + 2)
        bits.append(float(-(scored * np.log2(probability)).sum() / scored.sum()))
    return MarkovYardstick(bits=tuple(bits))


def _count(
    genomes: Sequence[Genome], intervals: Sequence[Intervals], update: Callable[[int], None], done_bp: int
) -> Int64[np.ndarray, " K"]:
    """Count the 10-mers of both strands; the first base is the most significant digit of the index."""
    counts = np.zeros(4**_K, np.int64)
    for batch in _batches(genomes, intervals):
        np.add.at(counts, _kmers(batch), 1)
        update(done_bp := done_bp + len(batch))
    digits = counts.reshape((4,) * _K)
    return (digits + np.flip(digits).transpose()).reshape(-1)  # complement every digit, reverse their order


def _batches(genomes: Sequence[Genome], intervals: Sequence[Intervals]) -> Iterator[UInt8[np.ndarray, " L"]]:
    """Join short intervals and cut long ones, so that no batch holds much more than ``_BATCH_BP`` bases.

    An N between intervals keeps them apart; the pieces of a long one overlap by all but one base of a 10-mer.
    """
    separator = np.array([UNKNOWN], np.uint8)
    pending: list[np.ndarray] = []
    pending_bp = 0
    for genome, part in zip(genomes, intervals, strict=True):
        for start, end in part.tolist():
            for first in range(start, max(end - MAX_ORDER, start), _BATCH_BP):
                piece = genome.span(first, min(first + _BATCH_BP + MAX_ORDER, end))
                pending += [piece, separator]
                pending_bp += len(piece)
                if pending_bp >= _BATCH_BP:
                    yield np.concatenate(pending)
                    pending, pending_bp = [], 0
    if pending:
        yield np.concatenate(pending)


def _kmers(codes: UInt8[np.ndarray, " L"]) -> Int32[np.ndarray, " K"]:
    """Return the indices of the 10-mers of known bases, from words of doubling length: 2, 4, 8, 10."""
    bases = codes & np.uint8(SOFT_MASK - 1)
    if len(bases) < _K:
        return np.empty(0, np.int32)
    is_n = bases == UNKNOWN
    words = bases.astype(np.int32) & 3
    two = words[:-1] << 2 | words[1:]
    four = two[:-2] << 4 | two[2:]
    eight = four[:-4] << 8 | four[4:]
    ten = eight[:-2] << 4 | two[8:]
    if not is_n.any():
        return ten
    num_n = np.append(0, np.cumsum(is_n, dtype=np.int32))
    return ten[num_n[_K:] == num_n[:-_K]]
