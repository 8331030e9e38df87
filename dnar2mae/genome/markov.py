"""One-sided yardstick: interpolated Markov models of order 0 to 16.

A masked model that predicts held-out bases no better than these has learned k-mer frequencies and nothing
else.
"""

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from dnar2mae.genome.alphabet import UNKNOWN
from dnar2mae.genome.masked_bases import MaskedBases

MAX_ORDER = 16
# pseudo-counts that the next lower order is worth
_PRIOR = 32
# bits of a base in a key: the fifth letter, unknown, has a number of its own
_DIGIT = 3
# temporaries of this many bases stay in the processor's cache
_CHUNK_BP = 1 << 18


class MarkovCounts:
    r"""Counts of every base after every context of up to 16 bases.

    .. math:: p_m(x | c) = \frac{n(c x) + 32\, p_{m-1}(x | c')}{n(c) + 32}, \qquad p_{-1} = 1/4,

    with the counts n of the training bases, the context c of the m bases to the left, and c' the same without its
    farthest base. A base whose context is cut off by a window's edge or an unknown base is predicted from what is
    left of it.

    Parameters
    ----------
    bases
        Training bases, as :func:`dnar2mae.genome.fitted_bases.fitted_bases` reads them. Every known base is counted
        under as much context as it has.

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
                chosen = keys[letters == letter]
                store[at : at + len(chosen)] = chosen
                filled[letter] += len(chosen)
        for store in self.contexts:
            store.sort()

    def bits(self, masked: MaskedBases) -> Float64[np.ndarray, "K P"]:
        """Return the bits that each order, 0 to 16, needs for each masked base, given all bases to its left."""
        codes, _, targets = masked.padded(MAX_ORDER)
        keys = _contexts(codes)[targets - MAX_ORDER]
        # sorted: neighbouring searches read neighbouring memory
        order = np.argsort(keys)
        keys, targets = keys[order], targets[order]
        letters = codes[targets]
        probability, bits = np.full(len(keys), 0.25), np.empty((MAX_ORDER + 1, len(keys)))
        active = np.arange(len(keys))
        for m in range(MAX_ORDER + 1):
            # a context ends before the first unknown base; its last probability then stands for all higher orders
            active = active[codes[targets[active] - m] < UNKNOWN]
            counts = self._counts(keys[active], m)
            total = counts.sum(axis=0)
            seen = counts[letters[active], np.arange(len(active))]
            probability[active] = (seen + _PRIOR * probability[active]) / (total + _PRIOR)
            bits[m, order] = -np.log2(probability)
            # where this context does not occur, a longer one does not either
            active = active[total > 0]
        return bits

    def _counts(self, keys: Int64[np.ndarray, " A"], order: int) -> Int64[np.ndarray, "4 A"]:
        """Count each letter after the ``order`` nearest bases of sorted keys."""
        shift = _DIGIT * (MAX_ORDER - order)
        prefix = keys >> shift
        # sorted keys with the same prefix are neighbours: each prefix is searched for once
        is_first = np.diff(prefix, prepend=-1) > 0
        low = prefix[is_first] << shift
        high = low + (1 << shift)
        counts = np.stack([np.searchsorted(k, high) - np.searchsorted(k, low) for k in self.contexts])
        return counts[:, np.cumsum(is_first) - 1]


def _contexts(bases: UInt8[np.ndarray, " L"]) -> Int64[np.ndarray, " K"]:
    """Return the keys of the 16 bases before each base but the first 16; the nearest base is the highest digit."""
    words = bases.astype(np.int64)
    length = 1
    # two words of one length make one of twice the length: 2, 4, 8, 16 bases
    while length < MAX_ORDER:
        words = words[length:] << _DIGIT * length | words[:-length]
        length *= 2
    return words[:-1]
