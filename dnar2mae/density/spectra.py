"""What sequences look like, one set beside another: k-mer spectra, open frames, copies and repeats."""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from dnar2mae.genome.alphabet import UNKNOWN, complement
from dnar2mae.genome.copies import COPIED_BP, Codes, copied, kmers

STOPS = [48 + 0, 48 + 2, 48 + 8]
"""TAA, TAG, TGA as numbers of three digits to the base 4."""


def spectrum(codes: Codes, k: int) -> Float64[np.ndarray, " K"]:
    """Return the frequencies of all k-mers, both strands counted; they sum to 1."""
    numbers, known = kmers(codes, k)
    counts = np.bincount(numbers[known].astype(np.int64), minlength=4**k).astype(float)
    # the reverse complement: digits backwards, each d as 3 - d
    tensor = counts.reshape((4,) * k)
    counts += np.flip(tensor.transpose(*range(k)[::-1]), axis=tuple(range(k))).reshape(-1)
    return counts / max(counts.sum(), 1)


def divergence(p: Float64[np.ndarray, " K"], q: Float64[np.ndarray, " K"]) -> float:
    """Return the Jensen-Shannon divergence of two distributions, in bits: 0 if equal, 1 if nothing is shared."""
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(x > 0, x * np.log2(x / middle), 0.0).sum() / 2 for x in (p, q)]
    return float(sum(parts))


def gc_shares(codes: Codes) -> Float64[np.ndarray, " N"]:
    """Return the share of G and C among the known bases of each sequence."""
    known = codes < UNKNOWN
    return ((codes == 1) | (codes == 2)).sum(1) / np.maximum(known.sum(1), 1)


def longest_open_frames(codes: Codes) -> Int64[np.ndarray, " N"]:
    """Return the longest run of codons without a stop in any of the six frames of each sequence.

    A codon with an unknown base ends a run.
    """
    best = np.zeros(len(codes), np.int64)
    for _, run in _frames(codes):
        best = np.maximum(best, run.max(1, initial=0))
    return best


class OpenFrames(NamedTuple):
    """Codons of long runs without a stop."""

    codons: Float64[np.ndarray, " 64"]
    """How often each codon comes in them, AAA first; stop codons never do."""
    stops: Float64[np.ndarray, " 3"]
    """How often TAA, TAG and TGA end them."""


def open_frames(codes: Codes, least: int) -> OpenFrames:
    """Count the codons of runs of at least ``least`` codons without a stop, in all six frames, and what ends them."""
    codons, ends = np.zeros(64), np.zeros(64)
    for words, run in _frames(codes):
        at_end = run.copy()  # of each run its last codon alone has its length
        at_end[:, :-1][run[:, 1:] > 0] = 0
        for row, last in zip(*np.nonzero(at_end >= least), strict=True):
            codons += np.bincount(words[row, last + 1 - run[row, last] : last + 1], minlength=64)
            if last + 1 < words.shape[1] and words[row, last + 1] >= 0:
                ends[words[row, last + 1]] += 1
    return OpenFrames(codons, ends[STOPS])


def _frames(codes: Codes) -> Iterator[tuple[Int64[np.ndarray, "N C"], Int64[np.ndarray, "N C"]]]:
    """Yield the codons of each of six frames (-1 with an unknown base), and how many open ones each ends a run of."""
    for strand, frame in product((codes, complement(codes[:, ::-1])), range(3)):
        numbers, known = kmers(strand[:, frame:], 3)
        words = np.where(known, numbers.astype(np.int64), -1)[:, ::3]
        closed = np.isin(words, [*STOPS, -1])
        run = np.zeros(words.shape, np.int64)
        for column in range(words.shape[1]):
            before = run[:, column - 1] if column else 0
            run[:, column] = np.where(closed[:, column], 0, before + 1)
        yield words, run


def copied_share(codes: Codes, training: UInt8[np.ndarray, " F"]) -> float:
    """Return the share of the 32-mers of sequences that also occur in the training bases."""
    known = kmers(codes, COPIED_BP)[1]
    return float(copied(codes, training)[known].mean()) if known.any() else 0.0


def distinct_share(codes: Codes) -> float:
    """Return the share of different ones among the 32-mers of sequences: 1 where none repeats."""
    numbers, known = kmers(codes, COPIED_BP)
    drawn = numbers[known]
    return len(np.unique(drawn)) / len(drawn) if len(drawn) else 1.0
