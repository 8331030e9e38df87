r"""Identity of two sequences.

.. math:: 1 - \frac{\mathrm{edits}}{\mathrm{length}}

of the part of the shorter sequence that is aligned. Aligned is its first, middle or last part, which covers at least
80 % of it, as a whole and with the fewest substitutions, insertions and deletions, anywhere in the longer sequence;
of the three parts the best counts. So a window that another one holds, or that is shifted by a fifth of its length, is
identical. Of two sequences of one length, that counts as the shorter one whose canonical strand sorts first. N equals
nothing, not even N.

Notes
-----
The number of edits of a best alignment is unique; the number of its columns is not, and so neither is the share of
columns that match. The share of edits of the columns is at most that of the part's length: this identity is at most
that of an alignment's columns.

References
----------
.. [1] Myers, "A fast bit-vector algorithm for approximate string matching based on dynamic programming", Journal of the
   ACM 46 (1999), 395-415.
.. [2] Šošić, Šikić, "Edlib: a C/C++ library for fast, exact sequence alignment using edit distance", Bioinformatics 33
   (2017), 1394-1395.
"""

import math
from collections.abc import Callable
from functools import cache

from dnar2mae.errors import needing
from dnar2mae.homology.letters import canonical, reverse_complement, upper

COVERAGE = 0.8
"""Least share of the shorter sequence that an alignment covers."""


def identity(first: str, second: str) -> float:
    """Return the identity of two sequences on the better of both strands, as this module defines it.

    Raises
    ------
    SequenceError
        One is empty, or has a letter that is no nucleotide code.
    """
    short, long = sorted(map(canonical, upper([first, second])), key=rank)
    return max(identity_of(short, long), identity_of(short, reverse_complement(long)))


def rank(letters: str) -> tuple[int, str]:
    """Return the key by which the first of two canonical sequences is the one whose parts are aligned."""
    return len(letters), letters


def identity_of(short: str, long: str, at_least: float = 0.0) -> float:
    """Return the identity of two upper-case sequences on the strands given; 0 where it is below ``at_least``."""
    overhang = math.floor((1 - COVERAGE) * len(short) + 1e-9) // 2
    length = len(short) - 2 * overhang
    within = length + 1e-9 - at_least * length
    fewest, long = math.floor(within) + 1, long.replace("N", "n")
    align, shared = _align(), short[2 * overhang : length]
    # what the three parts share: if it has too many edits already, so has each of them
    if align(shared, long, mode="HW", task="distance", k=fewest - 1)["editDistance"] < 0:
        return 0.0
    for start in dict.fromkeys((0, overhang, 2 * overhang)):
        if fewest == 0:
            break
        edits = align(short[start : start + length], long, mode="HW", task="distance", k=fewest - 1)["editDistance"]
        fewest = edits if edits >= 0 else fewest
    return 1 - fewest / length if fewest <= within else 0.0


@cache
def _align() -> Callable[..., dict[str, int]]:
    with needing("comparing sequences", "edlib", "dnar2mae[homology]"):
        from edlib import align
    return align
