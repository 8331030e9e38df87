"""The training bases that counting models are fitted on."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from dnar2mae.genome.alphabet import SOFT_MASK, UNKNOWN, complement
from dnar2mae.genome.intervals import Intervals, size
from dnar2mae.genome.store import Genome

MAX_FITTED_BP = 1 << 25
"""Most training bases that are counted: 33.5 million, on both strands."""
GAP_BP = 5
"""Unknown bases after each stretch: the reach of two-sided counts, so that no context spans two stretches."""
_STRETCH_BP = 1 << 20


def fitted_bases(
    genomes: Sequence[Genome], training: Sequence[Intervals], *, max_bp: int = MAX_FITTED_BP
) -> UInt8[np.ndarray, " F"]:
    """Read the training bases of all genomes, both strands, as codes 0 to 4 without the soft-mask bit.

    Parameters
    ----------
    genomes
        The genomes; all count alike, base by base.
    training
        Intervals of each genome in concatenated coordinates, each inside one sequence.
    max_bp
        Where there are more bases than these, the same share is taken of the start of every 1,048,576 of them, so
        that what is read is spread evenly.

    Returns
    -------
    array
        The stretches one after the other, ``GAP_BP`` unknown bases (4) after each, then their reverse complement.
    """
    total = sum(size(intervals) for intervals in training)
    taken = _STRETCH_BP if total <= max_bp else _STRETCH_BP * max_bp // total
    parts, gap, number = [], np.full(GAP_BP, UNKNOWN, np.uint8), 0
    for genome, intervals in zip(genomes, training, strict=True):
        for start, end in intervals.tolist():
            for first, last in _sampled(start, end, number, taken):
                parts += [genome.span(first, last), gap]
            number += end - start
    # with an empty array, since there may be no part to concatenate
    forward = np.concatenate([*parts, np.empty(0, np.uint8)]) & np.uint8(SOFT_MASK - 1)
    return np.concatenate([forward, complement(forward[::-1])])


def _sampled(start: int, end: int, number: int, taken: int) -> list[tuple[int, int]]:
    """Return the parts of an interval to read; its first base is the ``number``-th of all."""
    if taken == _STRETCH_BP:
        return [(start, end)]
    # stretches are counted over all intervals: many short ones are sampled as evenly as a long one
    offset = start - number
    first = number - number % _STRETCH_BP
    stretches = range(first, number + end - start, _STRETCH_BP)
    parts = ((max(start, offset + at), min(end, offset + at + taken)) for at in stretches)
    return [(a, b) for a, b in parts if a < b]
