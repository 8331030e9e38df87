"""The rival of a model as a density: the one-sided Markov models of its yardstick, as likelihoods and as samplers."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, UInt8

from dnar2mae.genome.alphabet import UNKNOWN
from dnar2mae.genome.markov import MAX_ORDER, MarkovCounts
from dnar2mae.genome.masked_bases import MaskedBases

_AT_ONCE = 256  # windows


def window_bits(
    counts: MarkovCounts, codes: Sequence[UInt8[np.ndarray, " _"]], lengths: Sequence[int]
) -> Float64[np.ndarray, "K S"]:
    """Return the bits of each order for the known bases of windows, each given what is to its left in its window.

    Parameters
    ----------
    counts
        The fitted models.
    codes
        Bases of each window, codes 0 to 4.
    lengths
        How many of each are scored: a model by k-mers leaves out what is no whole token.
    """
    parts = [np.empty((MAX_ORDER + 1, 0))]
    for start in range(0, len(codes), _AT_ONCE):
        part = codes[start : start + _AT_ONCE]
        padded = np.full((len(part), max(map(len, part))), UNKNOWN, np.uint8)
        for row, (window, length) in enumerate(zip(part, lengths[start : start + _AT_ONCE], strict=True)):
            padded[row, :length] = window[:length]
        targets = np.flatnonzero(padded < UNKNOWN)
        bits = counts.bits(MaskedBases(padded, padded, targets, np.zeros_like(targets)))
        rows = targets // padded.shape[1]
        parts.append(np.stack([np.bincount(rows, of_order, minlength=len(part)) for of_order in bits]))
    return np.concatenate(parts, axis=1)


def next_base(counts: MarkovCounts, left: UInt8[np.ndarray, "N L"], order: int) -> Float64[np.ndarray, "N 4"]:
    """Return the probabilities of the base after each context under a model of this order; they sum to 1."""
    context = left[:, max(left.shape[1] - order, 0) :]
    each = np.repeat(context, UNKNOWN, axis=0)
    letters = np.tile(np.arange(UNKNOWN, dtype=np.uint8), len(left))[:, None]
    codes = np.concatenate([each, letters], axis=1)
    targets = np.arange(1, len(codes) + 1) * codes.shape[1] - 1
    bits = counts.bits(MaskedBases(codes, codes, targets, np.zeros_like(targets)))[order]
    return 2.0 ** -bits.reshape(-1, UNKNOWN)


def drawn_sequences(
    counts: MarkovCounts, order: int, number: int, length_bp: int, seed: int
) -> UInt8[np.ndarray, "N L"]:
    """Draw sequences from a Markov model, base by base."""
    rng = np.random.default_rng(seed)
    codes = np.empty((number, length_bp), np.uint8)
    for at in range(length_bp):
        upto = next_base(counts, codes[:, max(at - order, 0) : at], order).cumsum(1)
        codes[:, at] = (rng.random(number)[:, None] * upto[:, -1:] > upto).sum(1)
    return codes


def best_order(counts: MarkovCounts, codes: UInt8[np.ndarray, "S L"]) -> int:
    """Return the order that needs the fewest bits for windows."""
    return int(window_bits(counts, list(codes), [codes.shape[1]] * len(codes)).sum(1).argmin())
