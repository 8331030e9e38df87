"""Windows that overlap along a genome, and the bases in their middles that each is asked for."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from dnar2mae.genome.intervals import Intervals, intersection
from dnar2mae.genome.store import Genome


class WindowLayout(NamedTuple):
    """Windows in the order of the genome, in concatenated coordinates."""

    extents: Int64[np.ndarray, "W 2"]
    """Start and end of each: all of one length but on sequences that are shorter than it, which are windows whole."""
    pieces: Int64[np.ndarray, "K 2"]
    """The bases that are asked for: sorted, disjoint, each inside one window."""
    first: Int64[np.ndarray, " W"]
    """Of each window its first piece; those up to the next window's are its own."""

    def of(self, number: int) -> Int64[np.ndarray, "_ 2"]:
        """Return the pieces of a window."""
        end = self.first[number + 1] if number + 1 < len(self.first) else len(self.pieces)
        return self.pieces[self.first[number] : end]

    def bases_before(self) -> Int64[np.ndarray, " _"]:
        """Return the number of bases that are asked for before each window, and at the end their total."""
        ends = np.append(0, np.cumsum(self.pieces[:, 1] - self.pieces[:, 0]))
        return ends[np.append(self.first, len(self.pieces))]


class WindowOver(NamedTuple):
    """The window in whose middle a base lies most, in concatenated coordinates."""

    start: int
    end: int
    middle: tuple[int, int]
    """The bases that are asked of it."""


def window_over(genome: Genome, position: int, window_bp: int, overlap_share: float) -> WindowOver:
    """Return the window of a base that :func:`lay_windows` gives it, without laying all of them.

    Parameters
    ----------
    genome
        The genome.
    position
        A base, in concatenated coordinates.
    window_bp, overlap_share
        As for :func:`lay_windows`.
    """
    begin, total_end = genome.intervals[int(genome.sequence_of(np.array([position]))[0])].tolist()
    step, last = _step(window_bp, overlap_share), max(total_end - window_bp, begin)
    count = -(-(last - begin) // step) + 1

    def extent(number: int) -> tuple[int, int]:
        start = begin + number * step if number < count - 1 else last
        return start, min(start + window_bp, total_end)

    def border(number: int) -> int:
        """Return where the middle of a window begins, and that of the one before ends."""
        return (extent(number)[0] + extent(number - 1)[1]) // 2

    number = min((position - begin) // step + 1, count - 1)  # one more: the last window begins early
    while number and position < border(number):
        number -= 1
    low = border(number) if number else begin
    return WindowOver(*extent(number), (low, border(number + 1) if number + 1 < count else total_end))


def lay_windows(genome: Genome, regions: Intervals, window_bp: int, overlap_share: float) -> WindowLayout:
    """Lay windows over a genome and keep those that regions need.

    They lie at the same places whatever the regions are. The last one of a sequence ends where that ends. Where two
    overlap, the border between their pieces is the middle of what they share.

    Parameters
    ----------
    genome
        The genome.
    regions
        Sorted and disjoint, each inside one sequence.
    window_bp
        Length of a window.
    overlap_share
        What a window has in common with the next, in [0, 1).
    """
    step = _step(window_bp, overlap_share)
    extents, middles = [], []
    for start, end in genome.intervals.tolist():
        last = max(end - window_bp, start)
        starts = np.append(np.arange(start, last, step), last)
        ends = np.minimum(starts + window_bp, end)
        borders = (starts[1:] + ends[:-1]) // 2
        extents.append(np.column_stack([starts, ends]))
        middles.append(np.column_stack([np.append(start, borders), np.append(borders, end)]))
    middle = np.concatenate(middles)
    pieces = intersection(middle, regions)
    owner = np.searchsorted(middle[:, 1], pieces[:, 0], side="right")
    used, first = np.unique(owner, return_index=True)
    return WindowLayout(np.concatenate(extents)[used], pieces, first.astype(np.int64))


def _step(window_bp: int, overlap_share: float) -> int:
    return max(window_bp - int(window_bp * overlap_share), 1)
