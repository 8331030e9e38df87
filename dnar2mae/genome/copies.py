"""Which stretches of DNA also lie among the training bases: there a count of long words looks up what comes next."""

import numpy as np
from jaxtyping import Bool, UInt8, UInt64

from dnar2mae.genome.alphabet import UNKNOWN

COPIED_BP = 32
"""Length of a stretch that counts as copied: 2 bits a base fill a 64-bit word."""
Codes = UInt8[np.ndarray, "N L"]
_CHUNK_BP = 1 << 20
_BUCKETS = np.uint64((1 << 22) - 1)


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
    bucket = np.zeros(int(_BUCKETS) + 1, bool)
    bucket[wanted & _BUCKETS] = True
    for start in range(0, len(training) - COPIED_BP + 1, _CHUNK_BP):
        words, whole = kmers(training[None, start : start + _CHUNK_BP + COPIED_BP - 1], COPIED_BP)
        words = words[whole & bucket[words & _BUCKETS]]  # few are left to search for
        at = np.searchsorted(wanted, words).clip(max=len(wanted) - 1)
        found[at[wanted[at] == words]] = True
    return found[place].reshape(numbers.shape) & known
