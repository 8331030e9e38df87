"""Copies: which DNA also lies among the training bases, and what that says of hidden bases.

References
----------
.. [1] Cao, Dix, Allison, Mears, "A simple statistical algorithm for biological sequence compression", DCC 2007, 43-52:
   the copy model of compressors, here for bases hidden anywhere instead of the next one.
"""

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64, UInt8, UInt64

from dnar2mae.genome.alphabet import UNKNOWN
from dnar2mae.genome.masked_bases import MaskedBases

COPIED_BP = 32
"""Length of a stretch that counts as copied: 2 bits a base fill a 64-bit word."""
Codes = UInt8[np.ndarray, "N L"]
_CHUNK_BP = 1 << 20
_BUCKETS = np.uint64((1 << 22) - 1)
_REACH_BP = 32
"""Visible bases on each side that are compared with a place."""
_COPIED = 0.1
"""Share of all bases that are copied, before anything is seen."""
_SAME, _DIFFERENT = 10.0, 0.3
"""Beta distribution of the share of equal bases in a copy."""
_MOST_PLACES = 64
"""Places of one word that are compared, evenly spaced among all."""
_CELLS = 1 << 21
"""Bases compared at once: temporaries of some 30 MB."""


def kmers(codes: Codes, k: int) -> tuple[UInt64[np.ndarray, "N P"], Bool[np.ndarray, "N P"]]:
    """Return the number of each k-mer (first base the highest digit), and whether all its bases are known; k >= 1."""
    if k == 1:
        return (codes & 3).astype(np.uint64), codes < UNKNOWN
    length, half = max(codes.shape[1] - k + 1, 0), k // 2
    numbers, known = kmers(codes, half)
    first, second = slice(length), slice(half, half + length)
    numbers, known = numbers[:, first] << np.uint64(2 * half) | numbers[:, second], known[:, first] & known[:, second]
    if k % 2:
        last, is_known = kmers(codes[:, k - 1 :], 1)
        numbers, known = numbers << np.uint64(2) | last, known & is_known
    return numbers, known


def copied(codes: Codes, training: UInt8[np.ndarray, " F"]) -> Bool[np.ndarray, "N P"]:
    """Return which 32-mers of sequences, all bases known, also occur in the training bases.

    Parameters
    ----------
    codes
        Sequences.
    training
        Training bases with their reverse complement, as :func:`~.fitted_bases.fitted_bases` reads them. They are gone
        through in parts of a million, so that memory grows with ``codes`` alone.
    """
    numbers, known = kmers(codes, COPIED_BP)
    wanted, place = np.unique(numbers, return_inverse=True)
    found = np.zeros(len(wanted), bool)
    for which, _ in _occurrences(wanted, training, COPIED_BP):
        found[which] = True
    return found[place].reshape(numbers.shape) & known


def _occurrences(
    wanted: UInt64[np.ndarray, " W"], training: UInt8[np.ndarray, " F"], k: int
) -> Iterator[tuple[Int64[np.ndarray, " H"], Int64[np.ndarray, " H"]]]:
    """Yield where sorted k-mers lie in the training bases, a part of these after the other: k-mer and position."""
    bucket = np.zeros(int(_BUCKETS) + 1, bool)
    bucket[wanted & _BUCKETS] = True
    for start in range(0, len(training) - k + 1, _CHUNK_BP):
        words, whole = kmers(training[None, start : start + _CHUNK_BP + k - 1], k)
        position = np.flatnonzero(whole[0] & bucket[words[0] & _BUCKETS])  # few are left to search for
        words = words[0, position]
        which = np.searchsorted(wanted, words).clip(max=len(wanted) - 1)
        is_hit = wanted[which] == words
        yield which[is_hit], position[is_hit] + start


class CopyModel:
    r"""What places among the training bases say of the hidden bases of windows, beside a model's prediction.

    A place d is compared with a window, base by base without gaps, if they share a word of visible bases. Of the
    visible bases within 32 of a hidden one m are equal there and u are not. With a share of equal bases that is
    Beta(a, b) in copies (a = 10, b = 0.3) and 1/4 by chance, F training bases that a copy could be of, and a tenth of
    all bases copied,

    .. math::
        w_d = \frac{1}{10 F} \frac{B(m + a, u + b)}{B(a, b)} 4^m \left(\frac 4 3\right)^u, \qquad
        q_d = \frac{m + a}{m + u + a + b}, \qquad
        p(x) = \frac{p_0(x) + \sum_d w_d\, p_d(x)}{1 + \sum_d w_d},

    with the model's p_0, and p_d of the base of d q_d, of each other base (1 - q_d) / 3. Only visible bases are looked
    at, and p sums to 1. A token of several bases has the product of theirs.

    Parameters
    ----------
    codes
        Windows, codes 0 to 4.
    training
        Training bases with their reverse complement, as :func:`~.fitted_bases.fitted_bases` reads them: kept, and gone
        through once. Where they hold a window itself, that is its copy.

    Notes
    -----
    A word has two bases more than would make each word occur once, or one: a sixteenth to a quarter of all words occur
    by chance. Of a word's places at most 64 are compared. Memory grows with the windows and their copies.
    """

    def __init__(self, codes: Codes, training: UInt8[np.ndarray, " F"]) -> None:
        self._num_bases = max(int((training < UNKNOWN).sum()), 1)
        self._word_bp = min(math.ceil(math.log(self._num_bases, 4)) + 1, COPIED_BP)
        length = codes.shape[1]
        edge = np.full(length, UNKNOWN, np.uint8)
        self._training = np.concatenate([edge, training, edge])
        numbers, known = kmers(codes, self._word_bp)
        row, at = np.nonzero(known)
        wanted, which = np.unique(numbers[row, at], return_inverse=True)
        parts = list(_occurrences(wanted, training, self._word_bp)) if len(wanted) else []
        word, position = (np.concatenate([p[i] for p in parts] or [np.empty(0, np.int64)]) for i in (0, 1))
        order = np.argsort(word, kind="stable")
        word, position = word[order], position[order]
        low, high = np.searchsorted(word, which), np.searchsorted(word, which, side="right")
        taken = np.minimum(high - low, _MOST_PLACES)
        pair, number = _ranges(np.zeros_like(taken), taken)
        place = position[low[pair] + number * (high - low)[pair] // taken[pair]]
        # in the padded bases, where the window's first base would lie
        start = place - at[pair] + length
        both, self._place_of = np.unique(np.stack([row[pair], start]), axis=1, return_inverse=True)
        self._row, self._start = both
        self._at = at[pair]
        # words by window, so that those of a few windows are found
        order = np.argsort(row[pair], kind="stable")
        self._place_of, self._at = self._place_of[order], self._at[order]
        self._first = np.searchsorted(row[pair][order], np.arange(len(codes) + 1))

    def mixed(
        self, probability: Float64[np.ndarray, " M"], rows: Int64[np.ndarray, " B"], masked: MaskedBases
    ) -> Float64[np.ndarray, " M"]:
        """Return the probability of each hidden token with its copies.

        Parameters
        ----------
        probability
            That of the model, of the tokens that there are.
        rows
            Which of the windows ``masked`` has.
        masked
            Their bases: the hidden ones, token after token, and the visible ones.
        """
        length = masked.codes.shape[1]
        is_first = masked.earlier == 0
        heads, head_of = masked.targets[is_first], np.append(np.flatnonzero(is_first), len(is_first))
        above, below = probability.astype(np.float64), np.ones(len(probability))
        table = _weights(self._num_bases)
        places, window = self._visible(rows, masked.shown)
        first, last = np.searchsorted(heads, window * length), np.searchsorted(heads, (window + 1) * length)
        size = max(_CELLS // (length + 2 * _REACH_BP), 1)
        for part in (slice(at, at + size) for at in range(0, len(places), size)):
            there = self._training[self._start[places[part], None] + np.arange(length)]
            shown = masked.shown[window[part]]
            compared = (shown < UNKNOWN) & (there < UNKNOWN)
            same = compared & (shown == there)
            equal, number = _within_reach(same), _within_reach(compared)
            pair, at = _ranges(first[part], last[part])
            place = heads[at] % length
            m, u = equal[pair, place], number[pair, place] - equal[pair, place]
            weight = table[m, u]
            likely = weight > 1e-6  # most places share a word by chance
            pair, at, m, u, weight = pair[likely], at[likely], m[likely], u[likely], weight[likely]
            share = (m + _SAME) / (m + u + _SAME + _DIFFERENT)
            # the bases of each token
            which, base = _ranges(head_of[at], head_of[at + 1])
            target = masked.targets[base]
            letter = there[pair[which], target % length]
            is_same = letter == masked.codes.reshape(-1)[target]
            of_base = np.where(is_same, share[which], (1 - share[which]) / 3)
            of_token = np.exp(np.bincount(which, np.log(of_base), minlength=len(at)))
            # a place that ends there says nothing
            weight[which[letter == UNKNOWN]] = 0
            above += np.bincount(at, weight * of_token, minlength=len(above))
            below += np.bincount(at, weight, minlength=len(below))
        return above / below

    def _visible(
        self, rows: Int64[np.ndarray, " B"], shown: UInt8[np.ndarray, "B L"]
    ) -> tuple[Int64[np.ndarray, " D"], Int64[np.ndarray, " D"]]:
        """Return the places that share a word of visible bases with a window, and for each the row of ``shown``."""
        window, match = _ranges(self._first[rows], self._first[rows + 1])
        seen = np.pad((shown < UNKNOWN).cumsum(1), ((0, 0), (1, 0)))
        at = self._at[match]
        is_whole = seen[window, at + self._word_bp] - seen[window, at] == self._word_bp
        places, which = np.unique(self._place_of[match[is_whole]], return_index=True)
        return places, window[is_whole][which]


def _ranges(first: np.ndarray, end: np.ndarray) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
    """Return the numbers of ranges one after the other: which range, and the number."""
    sizes = end - first
    which = np.repeat(np.arange(len(sizes)), sizes)
    return which, np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes - first, sizes)


def _within_reach(marked: Bool[np.ndarray, "D L"]) -> Int32[np.ndarray, "D L"]:
    """Count the marked bases around each base."""
    sums = np.pad(marked, ((0, 0), (_REACH_BP + 1, _REACH_BP))).cumsum(1, dtype=np.int32)
    return sums[:, 2 * _REACH_BP + 1 :] - sums[:, : -2 * _REACH_BP - 1]


def _weights(num_bases: int) -> Float64[np.ndarray, "E U"]:
    """Return the weight of a place by the numbers of equal and of different bases around a hidden one."""
    from scipy.special import betaln

    equal, different = np.meshgrid(np.arange(2 * _REACH_BP + 1), np.arange(2 * _REACH_BP + 1), indexing="ij")
    log = betaln(equal + _SAME, different + _DIFFERENT) - betaln(_SAME, _DIFFERENT)
    return _COPIED / num_bases * np.exp(log + equal * np.log(4) + different * np.log(4 / 3))
