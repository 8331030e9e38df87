"""Sets of intervals as sorted, disjoint, half-open int64 arrays ``[K, 2]``.

Intervals are in a genome's concatenated coordinates: position ``p`` of sequence ``i`` is ``offsets[i] + p``.
"""

import numpy as np
from jaxtyping import Int64

Intervals = Int64[np.ndarray, "_ 2"]


def intervals_of(starts: object, ends: object) -> Intervals:
    """Make an interval array of starts and ends, leaving out the empty ones."""
    pairs = np.column_stack([np.asarray(starts, np.int64), np.asarray(ends, np.int64)])
    return pairs[pairs[:, 0] < pairs[:, 1]]


def size(intervals: Intervals) -> int:
    """Return the sum of the lengths."""
    return int((intervals[:, 1] - intervals[:, 0]).sum())


def union(intervals: Intervals) -> Intervals:
    """Sort, and merge intervals that overlap or touch."""
    if not len(intervals):
        return intervals
    starts, ends = intervals[np.argsort(intervals[:, 0], kind="stable")].T
    # an interval may end before one that starts earlier: what counts is the farthest end so far
    ends = np.maximum.accumulate(ends)
    is_first = np.append(True, starts[1:] > ends[:-1])
    return intervals_of(starts[is_first], ends[np.append(is_first[1:], True)])


def intersection(a: Intervals, b: Intervals) -> Intervals:
    """Return the positions in both of two sorted, disjoint sets; what touched without being merged stays apart."""
    # a[i] overlaps b[first[i]] and the count[i] - 1 intervals after it
    first = np.searchsorted(b[:, 1], a[:, 0], side="right")
    count = np.maximum(np.searchsorted(b[:, 0], a[:, 1], side="left") - first, 0)
    in_a = np.repeat(np.arange(len(a)), count)
    in_b = np.arange(len(in_a)) + np.repeat(first - (np.cumsum(count) - count), count)
    return intervals_of(np.maximum(a[in_a, 0], b[in_b, 0]), np.minimum(a[in_a, 1], b[in_b, 1]))


def difference(a: Intervals, b: Intervals) -> Intervals:
    """Return the positions in ``a`` but not in ``b``, both sorted and disjoint."""
    # what lies between the intervals of b, and on either side of them
    limits = np.iinfo(np.int64)
    return intersection(a, intervals_of(np.append(limits.min, b[:, 1]), np.append(b[:, 0], limits.max)))
