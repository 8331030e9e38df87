"""Copies: which DNA also lies among the training bases, and what that says of hidden bases.

References
----------
.. [1] Cao, Dix, Allison, Mears, "A simple statistical algorithm for biological sequence compression", DCC 2007, 43-52:
   the copy model of compressors, here for bases hidden anywhere instead of the next one.
"""

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped, UInt8, UInt64

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
_MOST_PLACES = 16
"""Places of one word that are compared, evenly spaced among all."""
_NEGLIGIBLE = 1e-6
"""Weight of a place that is left out."""
_MOST_LOG = 500.0  # of a likelihood ratio, which would overflow
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
    visible bases within 32 of a hidden one m are equal there and u are not. If the window is a copy of d, its share of
    equal bases is Beta(a, b) with a = 10 and b = 0.3; if not, each base has its frequency f in the training bases. With
    F of these that a copy could be of, and a tenth of all bases copied,

    .. math::
        w_d = \frac{1}{10 F} \frac{B(m + a, u + b)}{B(a, b)} \prod_\mathrm{equal} \frac{1}{f(x_i)}
        \prod_\mathrm{unequal} \frac{1}{1 - f(d_i)}, \qquad
        q_d = \frac{m + a}{m + u + a + b}, \qquad
        p(x) = \frac{p_0(x) + \sum_d w_d\, p_d(x)}{1 + \sum_d w_d},

    with the model's p_0, and p_d of the base of d q_d, of each other base (1 - q_d) / 3. Only visible bases are looked
    at, and p sums to 1. A token of k bases has the product of theirs.

    Parameters
    ----------
    codes
        Windows, codes 0 to 4.
    training
        Training bases with their reverse complement, as :func:`~.fitted_bases.fitted_bases` reads them: kept, and gone
        through once. Where they hold a window itself, that is its copy.

    Notes
    -----
    Words are so long that a window's word occurs by chance with a probability of a sixteenth to a quarter. Of a word's
    places at most 16 are compared. Memory grows with the windows and the places of their words, by some 30 bytes each.
    """

    def __init__(self, codes: Codes, training: UInt8[np.ndarray, " F"]) -> None:
        counts = np.bincount(training, minlength=UNKNOWN + 1)[:UNKNOWN]
        self._num_bases = max(int(counts.sum()), 1)
        frequency = (counts + 1) / (counts + 1).sum()
        # by base shown and base of a place; 0 where one is unknown
        self._surprise = np.zeros((UNKNOWN + 1, UNKNOWN + 1))
        self._surprise[:UNKNOWN, :UNKNOWN] = -np.log(1 - frequency)
        self._surprise[range(UNKNOWN), range(UNKNOWN)] = -np.log(frequency)
        length = math.log(self._num_bases) / -math.log((frequency**2).sum())
        self._word_bp = min(math.ceil(length) + 1, COPIED_BP)
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
        key = row[pair] * len(self._training) + place - at[pair] + length
        places, self._place_of = np.unique(key, return_inverse=True)
        self._row, self._start = np.divmod(places, len(self._training))
        self._at = at[pair]
        # words are by window: those of a few windows are found
        self._first = np.searchsorted(row[pair], np.arange(len(codes) + 1))

    def mixed(
        self, log_probability: Float64[np.ndarray, " M"], rows: Int64[np.ndarray, " B"], masked: MaskedBases
    ) -> Float64[np.ndarray, " M"]:
        """Return the log-probability of each hidden token with its copies, in nats.

        Parameters
        ----------
        log_probability
            That of the model.
        rows
            Which of the windows ``masked`` has.
        masked
            Their bases: the hidden ones, token after token, and the visible ones.
        """
        length = masked.codes.shape[1]
        is_first = masked.earlier == 0
        heads, head_of = masked.targets[is_first], np.append(np.flatnonzero(is_first), len(is_first))
        above, below = np.zeros(len(heads)), np.ones(len(heads))
        places, window = self._visible(rows, masked.shown)
        first, last = np.searchsorted(heads, window * length), np.searchsorted(heads, (window + 1) * length)
        # only what is near a hidden token is compared: of a window of which one is asked for, 65 bases
        near = heads % length if len(heads) else np.zeros(1, np.int64)
        left, right = max(int(near.min()) - _REACH_BP, 0), min(int(near.max()) + _REACH_BP + 1, length)
        table, size = _likelihoods(), max(_CELLS // (right - left + 2 * _REACH_BP), 1)
        for part in (slice(at, at + size) for at in range(0, len(places), size)):
            start, own = self._start[places[part]], window[part]
            there, shown = self._training[start[:, None] + np.arange(left, right)], masked.shown[own, left:right]
            same, compared = shown == there, (shown < UNKNOWN) & (there < UNKNOWN)
            pair, at = _ranges(first[part], last[part])
            place = heads[at] % length - left
            m, number, chance = (
                _within_reach(x)[pair, place] for x in (same & compared, compared, self._surprise[shown, there])
            )
            u = number - m
            weight = _COPIED / self._num_bases * np.exp(np.minimum(table[m, u] + chance, _MOST_LOG))
            likely = weight > _NEGLIGIBLE  # most places share a word by chance
            pair, at, m, u, weight = pair[likely], at[likely], m[likely], u[likely], weight[likely]
            share = (m + _SAME) / (m + u + _SAME + _DIFFERENT)
            # the bases of each token
            which, base = _ranges(head_of[at], head_of[at + 1])
            target = masked.targets[base]
            letter = self._training[start[pair[which]] + target % length]
            is_same = letter == masked.codes.reshape(-1)[target]
            of_base = np.where(is_same, share[which], (1 - share[which]) / 3)
            of_token = np.exp(np.bincount(which, np.log(of_base), minlength=len(at)))
            # a place that ends there says nothing
            weight[which[letter == UNKNOWN]] = 0
            above += np.bincount(at, weight * of_token, minlength=len(above))
            below += np.bincount(at, weight, minlength=len(below))
        with np.errstate(divide="ignore"):  # where there is no place
            return np.logaddexp(log_probability, np.log(above)) - np.log(below)

    def _visible(
        self, rows: Int64[np.ndarray, " B"], shown: UInt8[np.ndarray, "B L"]
    ) -> tuple[Int64[np.ndarray, " D"], Int64[np.ndarray, " D"]]:
        """Return the places that share a word of visible bases with a window, and for each the row of ``shown``."""
        window, match = _ranges(self._first[rows], self._first[rows + 1])
        seen = np.pad((shown < UNKNOWN).cumsum(1), ((0, 0), (1, 0)))
        at = self._at[match]
        is_whole = seen[window, at + self._word_bp] - seen[window, at] == self._word_bp
        size = max(len(self._row), 1)
        window, places = np.divmod(np.unique(window[is_whole] * size + self._place_of[match[is_whole]]), size)
        return places, window


def _ranges(first: np.ndarray, end: np.ndarray) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
    """Return the numbers of ranges one after the other: which range, and the number."""
    sizes = end - first
    which = np.repeat(np.arange(len(sizes)), sizes)
    return which, np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes - first, sizes)


def _within_reach(values: Shaped[np.ndarray, "D L"]) -> Shaped[np.ndarray, "D L"]:
    """Sum numbers, or count marked bases, around each base."""
    dtype = np.int32 if values.dtype == bool else np.float64
    sums = np.pad(values, ((0, 0), (_REACH_BP + 1, _REACH_BP))).cumsum(1, dtype=dtype)
    return sums[:, 2 * _REACH_BP + 1 :] - sums[:, : -2 * _REACH_BP - 1]


def _likelihoods() -> Float64[np.ndarray, "E U"]:
    """Return the log-likelihood of so many equal and different bases in a copy, in their order."""
    from scipy.special import betaln

    equal, different = np.meshgrid(np.arange(2 * _REACH_BP + 1), np.arange(2 * _REACH_BP + 1), indexing="ij")
    return betaln(equal + _SAME, different + _DIFFERENT) - betaln(_SAME, _DIFFERENT)
