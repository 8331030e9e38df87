"""The yardstick of text: Markov models over tokens, scored on the held-out documents."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64, Int64

from dnar2mae.modalities.text.stream import TokenStream
from dnar2mae.tokenizers import Vocabulary

MAX_ORDER = 3
_STRETCH, _STRETCHES = 1 << 16, 256  # tokens of a stretch, and how many are used at most


def markov_bits(training: TokenStream, held_out: TokenStream, vocabulary: Vocabulary) -> list[float]:
    r"""Return the held-out bits per byte of Markov models over tokens, of order 0 (unigram) to 3, by order.

    .. math::
        p_m(x|c) = \frac{n(c, x) + t(c)\, p_{m-1}(x|c')}{n(c) + t(c)}, \qquad
        p_0(x) = \frac{n(x) + 1/2}{n + V/2}

    (Witten-Bell), with the counts n of the training documents, t the number of different tokens after a context c of m
    tokens, c' the context without its first token, and V real tokens. A token with fewer than m before it in its
    document is predicted from those. Special tokens are not scored, and orders whose contexts do not fit 63 bits are
    left out. Of more than 16 M tokens, 256 evenly spaced stretches of 65,536 are used.
    """
    fitted, scored = _sample(training), _sample(held_out)
    first, size = vocabulary.first_real, vocabulary.size
    real = (scored[0] >= first) & (scored[0] < first + vocabulary.num_real)
    total = scored[2][real].sum()
    counts = np.bincount(fitted[0], minlength=size)[first : first + vocabulary.num_real]
    smooth = np.zeros(size)
    smooth[first : first + vocabulary.num_real] = (counts + 0.5) / (counts.sum() + vocabulary.num_real / 2)
    chance = smooth[scored[0]]
    bits = []
    for order in range(MAX_ORDER + 1):
        if size ** (order + 1) >= 1 << 63:
            break
        if order:
            chance = _one_order_more(fitted, scored, chance, order, size)
        bits.append(float(-np.log2(chance[real]).sum() / total))
    return bits


Tokens = tuple[Int64[np.ndarray, " _"], Int64[np.ndarray, " _"], Float64[np.ndarray, " _"]]
"""Ids, positions in the document, bytes."""


def _one_order_more(
    fitted: Tokens, scored: Tokens, chance: Float64[np.ndarray, " N"], order: int, size: int
) -> Float64[np.ndarray, " N"]:
    """Return the probabilities of the scored tokens under a context that is one token longer."""
    pairs, num = np.unique(_keys(fitted, order, size), return_counts=True)
    owners = pairs // size  # the context of each pair; pairs of one context are neighbours
    contexts, start, num_different = np.unique(owners, return_index=True, return_counts=True)
    if not len(contexts):
        return chance
    sums = np.add.reduceat(num, start)
    keys = _keys(scored, order, size)
    seen = _look_up(pairs, num, keys)
    of_context = _look_up(contexts, sums, keys // size)
    different = _look_up(contexts, num_different, keys // size)
    rows = np.flatnonzero(scored[1] >= order)
    before = chance[rows]
    longer = (seen + different * before) / np.maximum(of_context + different, 1)
    chance = chance.copy()
    chance[rows] = np.where(of_context > 0, longer, before)
    return chance


def _keys(tokens: Tokens, order: int, size: int) -> Int64[np.ndarray, " K"]:
    """Return a number for each token with the ``order`` before it, of tokens with so many in their document."""
    ids, position, _ = tokens
    key = np.zeros(max(len(ids) - order, 0), np.int64)
    for i in range(order + 1):
        key = key * size + ids[i : i + len(key)]
    return key[position[order:] >= order]


def _look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    at = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)


def _sample(stream: TokenStream) -> Tokens:
    parts = list(_stretches(stream))
    ids, position, sizes = (np.concatenate([part[i] for part in parts]) for i in range(3))
    return ids, position, sizes


def _stretches(stream: TokenStream) -> Iterator[Tokens]:
    total, most = stream.num_tokens, _STRETCH * _STRETCHES
    starts = np.arange(0, total, _STRETCH) if total <= most else np.arange(_STRETCHES) * (total // _STRETCHES)
    previous = None
    for start in starts.tolist():
        piece = stream.read(start, min(_STRETCH, total - start))
        number = piece.documents
        is_first = np.diff(number, prepend=number[0] - 1) != 0
        firsts = np.maximum.accumulate(np.where(is_first, np.arange(len(number)), 0))
        position = np.arange(len(number)) - firsts
        if previous is not None and total <= most and previous[0] == number[0]:  # goes on from the last stretch
            position[number == number[0]] += previous[1] + 1
        previous = (number[-1], position[-1])
        sizes = np.ones(len(number)) if piece.sizes is None else piece.sizes.astype(float)
        yield piece.tokens.astype(np.int64), position, sizes
