"""One-sided yardstick: interpolated Markov models of order 0 to 16.

A masked model that predicts held-out bases no better than these has learned k-mer frequencies and nothing
else.
"""

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from dnar2mae.genome.alphabet import UNKNOWN
from dnar2mae.genome.masked_bases import MaskedBases

MAX_ORDER = 16
_PRIOR = 32  # pseudo-counts that the next lower order is worth
_DIGIT = 3  # bits of a base in a key: the fifth letter, unknown, has a number of its own
_CHUNK_BP = 1 << 18  # temporaries that stay in the cache


class MarkovCounts:
    r"""Counts of every base after every context of up to 16 bases.

    .. math:: p_m(x | c) = \frac{n(c x) + 32\, p_{m-1}(x | c')}{n(c) + 32}, \qquad p_{-1} = 1/4,

    with the counts n of the training bases, the context c of the m bases to the left, and c' the same without its
    farthest base. A base whose context is cut off by a window's edge or an unknown base is predicted from what is
    left of it.

    Parameters
    ----------
    bases
        What :func:`dnar2mae.genome.fitted_bases.fitted_bases` gives. Every known base is counted under as much
        context as it has.

    Notes
    -----
    Contexts are kept as sorted 48-bit keys, nearest base first, one array for each letter that follows: those that
    share their m nearest bases are neighbours, and two binary searches count them. 8 bytes a base and strand:
    67 MB for 4.2 million bases, 537 MB for the 33.5 million that are counted at most.
    """

    def __init__(self, bases: UInt8[np.ndarray, " F"]) -> None:
        sizes = np.bincount(bases, minlength=UNKNOWN + 1)
        self.contexts = tuple(np.empty(n, np.int64) for n in sizes[:UNKNOWN])
        filled = [0] * UNKNOWN
        padded = np.concatenate([np.full(MAX_ORDER, UNKNOWN, np.uint8), bases])
        for start in range(0, len(bases), _CHUNK_BP):
            chunk = padded[start : start + _CHUNK_BP + MAX_ORDER]
            keys, letters = _contexts(chunk), chunk[MAX_ORDER:]
            for letter, (store, at) in enumerate(zip(self.contexts, filled, strict=True)):
                found = keys[letters == letter]
                store[at : at + len(found)] = found
                filled[letter] += len(found)
        for store in self.contexts:
            store.sort()

    def bits(self, masked: MaskedBases) -> Float64[np.ndarray, "K P"]:
        """Bits that each order, 0 to 16, needs for each of the masked bases, given all bases to their left."""
        codes, _, place = masked.padded(MAX_ORDER)
        keys = _contexts(codes)[place - MAX_ORDER]
        order = np.argsort(keys)  # neighbouring searches read neighbouring memory
        keys, place = keys[order], place[order]
        letters = codes[place]
        chance, bits = np.full(len(keys), 0.25), np.empty((MAX_ORDER + 1, len(keys)))
        active = np.arange(len(keys))
        for m in range(MAX_ORDER + 1):
            active = active[codes[place[active] - m] < UNKNOWN]
            counts = self._counts(keys[active], m)
            total = counts.sum(axis=0)
            seen = counts[letters[active], np.arange(len(active))]
            chance[active] = (seen + _PRIOR * chance[active]) / (total + _PRIOR)
            bits[m, order] = -np.log2(chance)
            active = active[total > 0]  # a longer context does not occur either
        return bits

    def _counts(self, keys: Int64[np.ndarray, " A"], order: int) -> Int64[np.ndarray, "4 A"]:
        """Count each letter after the ``order`` nearest bases of sorted keys."""
        shift = _DIGIT * (MAX_ORDER - order)
        prefix = keys >> shift
        is_first = np.diff(prefix, prepend=-1) > 0
        low = prefix[is_first] << shift
        high = low + (1 << shift)
        counts = np.stack([np.searchsorted(k, high) - np.searchsorted(k, low) for k in self.contexts])
        return counts[:, np.cumsum(is_first) - 1]


def _contexts(bases: UInt8[np.ndarray, " L"]) -> Int64[np.ndarray, " K"]:
    """Keys of the 16 bases before each base but the first 16; the nearest base is the most significant digit."""
    words = bases.astype(np.int64)
    length = 1
    while length < MAX_ORDER:  # words of doubling length: 2, 4, 8, 16
        words = words[length:] << _DIGIT * length | words[:-length]
        length *= 2
    return words[:-1]
