"""Pairs of sequences that share letters at the places of a pattern: what is worth aligning.

All words are indexed. A sketch of minimizers would leave out most of them, and has few words of a sequence of 70 bp to
begin with. Words with gaps, by four patterns, find far more pairs of low identity than words without gaps do [1]_.

References
----------
.. [1] Ma, Tromp, Li, "PatternHunter: faster and more sensitive homology search", Bioinformatics 18 (2002), 440-445.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int64

from dnar2mae.genome.alphabet import UNKNOWN, encode
from dnar2mae.homology.identity import COVERAGE

_PATTERNS = (
    (0, 2, 4, 7, 10, 13, 16, 18, 19, 20, 21, 22, 24, 27),
    (0, 1, 2, 3, 6, 7, 10, 12, 13, 14, 15, 16, 18, 19),
    (0, 2, 4, 7, 8, 9, 12, 13, 15, 16, 17, 19, 22, 25),
    (0, 1, 2, 5, 8, 10, 12, 15, 17, 19, 21, 23, 24, 25),
)
"""Places of a word's letters, of which the first ``weight`` count: the best of random ones, by how many pairs at 65 to
80 % identity without gaps share words of weight 8, 10 and 12."""
_WEIGHTS = range(8, 15)
_CHANCE_HITS = 2.5e7
"""Most words that unrelated sequences share, a pattern: the least weight with fewer is taken."""
_INDEXED_BP = 4_000_000
_CELLS = 4_000_000
"""Pairs whose shared words are counted at once. With the bases indexed at once it bounds the memory, at about 1 GB."""
_MOST_HITS = 1 << 16
"""Shared words that are counted for one sequence, the rarest first: repeats do not take all the time."""
_LEAST_SHARED = 2
_MOST_COUNTED = 1023

Pairs = tuple[Int64[np.ndarray, " P"], Int64[np.ndarray, " P"]]
"""Indices of queries and of targets."""


def weight_for(query_bp: int, target_bp: int) -> int:
    """Return the number of letters of a word at which unrelated sequences of these sizes share few enough."""
    fits = [weight for weight in _WEIGHTS if query_bp * target_bp / 4.0**weight <= _CHANCE_HITS]
    return fits[0] if fits else _WEIGHTS[-1]


def least_shared(length: int, identity: float, weight: int) -> int:
    """Return how many words two sequences must share to be worth aligning: a sixth of what is expected, at least 2.

    Expected is what four fifths of the shorter one share with a sequence of this identity that has no gaps.
    """
    expected = sum(max(COVERAGE * length - pattern[weight - 1], 0) for pattern in _PATTERNS) * identity**weight
    return max(round(expected / 6), _LEAST_SHARED)


def parts(sequences: Sequence[str]) -> Iterator[slice]:
    """Yield consecutive stretches of the sequences that can be indexed at once."""
    ends = np.cumsum([len(letters) for letters in sequences])
    start = 0
    while start < len(sequences):
        before = ends[start - 1] if start else 0
        end = max(int(np.searchsorted(ends, before + _INDEXED_BP, side="right")), start + 1)
        yield slice(start, end)
        start = end


def words(sequences: Sequence[str], weight: int) -> Pairs:
    """Return the distinct words of sequences: the index of the sequence and the word, which tells its pattern too.

    They are in the order of the words, and of the sequences for each word.
    """
    codes = encode("N".join(sequences).encode())
    lengths = np.array([len(letters) for letters in sequences]) + 1
    owner = np.repeat(np.arange(len(sequences)), lengths)[: len(codes)]
    owners, found = [], []
    for number, pattern in enumerate(_PATTERNS):
        places = pattern[:weight]
        count = max(len(codes) - places[-1], 0)
        word = np.full(count, number, np.int64)
        known = owner[:count] == owner[places[-1] :]
        for place in places:
            letters = codes[place : place + count]
            word = 4 * word + letters
            known &= letters < UNKNOWN
        both = word[known] * len(sequences) + owner[:count][known]
        both.sort()  # quicker than np.unique
        word, of = np.divmod(both[np.diff(both, prepend=-1) > 0], len(sequences))
        owners.append(of)
        found.append(word)
    return np.concatenate(owners), np.concatenate(found)


class WordIndex:
    """The words of target sequences, in order.

    Parameters
    ----------
    targets
        Upper-case sequences, of :func:`parts`.
    weight
        Letters of a word.
    """

    def __init__(self, targets: Sequence[str], weight: int) -> None:
        self._owner, self._word = words(targets, weight)
        self._weight, self._size = weight, len(targets)

    def blocks(self, num_queries: int) -> Iterator[slice]:
        """Yield stretches of the queries whose pairs can be counted at once."""
        step = max(_CELLS // self._size, 1)
        yield from (slice(start, min(start + step, num_queries)) for start in range(0, num_queries, step))

    def shared(self, queries: Sequence[str], least: int) -> tuple[Int64[np.ndarray, " P"], Int64[np.ndarray, " P"]]:
        """Return the pairs that share enough words, as query * number of targets + target, and how many they share."""
        query, word = words(queries, self._weight)
        low, high = np.searchsorted(self._word, word), np.searchsorted(self._word, word, side="right")
        hits = high - low
        rarest_first = np.lexsort((hits, query))
        query, low, hits = query[rarest_first], low[rarest_first], hits[rarest_first]
        before = np.concatenate([[0], np.cumsum(hits)])
        first = np.searchsorted(query, np.arange(len(queries)))
        hits = np.where(before[1:] - before[first[query]] <= _MOST_HITS, hits, 0)
        skipped = np.cumsum(hits) - hits
        place = np.arange(hits.sum()) + np.repeat(low - skipped, hits)
        counts = np.bincount(np.repeat(query, hits) * self._size + self._owner[place])
        pairs = np.flatnonzero(counts >= least)
        return pairs, np.minimum(counts[pairs], _MOST_COUNTED)


def most_shared(query: Int64[np.ndarray, " P"], shared: Int64[np.ndarray, " P"], most: int) -> Int64[np.ndarray, " K"]:
    """Return the places of the pairs that share most words, at most ``most`` a query, by query, the best first."""
    size = _MOST_COUNTED + 1
    table = np.bincount(query * size + shared, minlength=(int(query.max(initial=0)) + 1) * size).reshape(-1, size)
    at_least = table[:, ::-1].cumsum(1)[:, ::-1]
    # the most shared words that still leave enough pairs: only these need to be sorted
    enough = np.maximum((at_least >= most).sum(1) - 1, 0)
    kept = np.flatnonzero(shared >= enough[query])
    kept = kept[np.lexsort((-shared[kept], query[kept]))]
    first = np.searchsorted(query[kept], query[kept])
    return kept[np.arange(len(kept)) - first < most]
