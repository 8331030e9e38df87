"""Two-sided yardstick: counts of a base between its visible neighbours on both sides."""

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from dnar2mae.genome.alphabet import UNKNOWN
from dnar2mae.genome.fitted_bases import GAP_BP
from dnar2mae.genome.masked_bases import MaskedBases

MAX_REACH = GAP_BP
_LETTERS = UNKNOWN + 1
# by trial: with fewer, 5 + 5 was worse than 4 + 4 on E. coli (8) and yeast (21)
_BASES_PER_CONTEXT = 32
_CHUNK_BP = 1 << 18


class TwoSidedCounts:
    r"""Counts of every base between up to 5 bases on its left and 5 on its right.

    The neighbours are taken from near to far, left before right; one that is masked, unknown or outside the window is
    passed over. With c the visible ones among the first j, and c' the same without the farthest (Witten-Bell),

    .. math:: p(x | c) = \frac{n(c, x) + t(c)\, p(x | c')}{n(c) + t(c)},

    with the counts n of the training bases, any letters standing at the positions that are passed over, and t(c) the
    number of different letters seen in c; the empty context backs off to 1/4, and one that does not occur is left out.

    Parameters
    ----------
    bases
        Training bases, as :func:`dnar2mae.genome.fitted_bases.fitted_bases` reads them.

    Attributes
    ----------
    reach : int
        Most neighbours on a side: 5 where a context of so many has 32 bases on average (33.5 million, both strands
        counted), else 4.

    Notes
    -----
    The table holds the counts of all contexts over five letters, the fifth standing for any base: 4 * 5**(2 * reach)
    counts of 4 bytes: 6 MB at 4 + 4, 156 MB at 5 + 5.
    """

    def __init__(self, bases: UInt8[np.ndarray, " F"]) -> None:
        self.reach = MAX_REACH if len(bases) >= _BASES_PER_CONTEXT * 16**MAX_REACH else MAX_REACH - 1
        # of left 1, right 1, left 2, right 2, ...
        self._strides = [_LETTERS**j for j in range(2 * self.reach)]
        table = np.zeros((_LETTERS ** (2 * self.reach), UNKNOWN), np.int32)
        edge = np.full(self.reach, UNKNOWN, np.uint8)
        padded = np.concatenate([edge, bases, edge])
        for start in range(0, len(bases), _CHUNK_BP):
            _add(table, padded[start : start + _CHUNK_BP + 2 * self.reach], self._strides)
        # neighbour by neighbour: its fifth row becomes the sum of the other four, which stands for any letter
        for stride in self._strides:
            by_letter = table.reshape(-1, _LETTERS, stride * UNKNOWN)
            for letter in range(UNKNOWN):
                by_letter[:, UNKNOWN] += by_letter[:, letter]
        self._table = table

    def bits(self, masked: MaskedBases) -> Float64[np.ndarray, "K P"]:
        """Return the bits that 1 + 1, 2 + 2, ... neighbours need for each of the masked bases."""
        codes, shown, targets = masked.padded(MAX_REACH)
        letters = codes[targets]
        # at first every neighbour is unknown
        context = np.full(len(targets), UNKNOWN * sum(self._strides))
        probability = np.full(len(targets), 0.25)
        bits = np.empty((self.reach, len(targets)))
        self._lengthen(probability, context, letters, np.arange(len(targets)))
        for side, stride in enumerate(self._strides):
            distance = side // 2 + 1
            if side % 2:
                digit = shown[targets + distance]
            else:
                # earlier bases of the same token are known by the time this one is predicted
                at = targets - distance
                digit = np.where(distance <= masked.earlier, codes[at], shown[at])
            known = np.flatnonzero(digit < UNKNOWN)
            context[known] -= (UNKNOWN - digit[known].astype(np.int64)) * stride
            self._lengthen(probability, context, letters, known)
            bits[side // 2] = -np.log2(probability)
        return bits

    def _lengthen(
        self,
        probability: Float64[np.ndarray, " P"],
        context: Int64[np.ndarray, " P"],
        letters: UInt8[np.ndarray, " P"],
        rows: Int64[np.ndarray, " K"],
    ) -> None:
        """Replace the probabilities of these rows by those under their present contexts."""
        counts = self._table[context[rows]]
        seen, total, distinct = counts[np.arange(len(rows)), letters[rows]], counts.sum(1), (counts > 0).sum(1)
        longer = (seen + distinct * probability[rows]) / np.maximum(total + distinct, 1)
        probability[rows] = np.where(total > 0, longer, probability[rows])


def _add(table: np.ndarray, padded: UInt8[np.ndarray, " L"], strides: list[int]) -> None:
    """Count the bases of a stretch, its flanks left out, by their neighbours and their letter."""
    reach = len(strides) // 2
    inner = slice(reach, len(padded) - reach)
    known = np.flatnonzero(padded[inner] < UNKNOWN) + reach
    index: Int64[np.ndarray, " K"] = np.zeros(len(known), np.int64)
    for side, stride in enumerate(strides):
        distance = side // 2 + 1
        index += padded[known + (distance if side % 2 else -distance)].astype(np.int64) * stride
    np.add.at(table.reshape(-1), index * UNKNOWN + padded[known], 1)
