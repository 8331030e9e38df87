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
    step = max(window_bp - int(window_bp * overlap_share), 1)
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
