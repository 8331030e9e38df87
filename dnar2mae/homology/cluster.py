"""Clusters of similar sequences, and splits that keep each whole."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int, Int64

from dnar2mae.errors import ConfigError
from dnar2mae.homology.identity import identity_of, rank
from dnar2mae.homology.letters import canonical, reverse_complement, upper
from dnar2mae.homology.seeds import Pairs, WordIndex, least_shared, most_shared, parts, weight_for

SPLIT_NAMES = ("train", "dev", "test")
_MOST_ALIGNED = 50
"""Pairs that are aligned of one sequence and strand, of those that are not in one cluster yet."""


def clusters(
    sequences: Sequence[str], *, identity: float = 0.8, advance: Callable[[int, int], None] | None = None
) -> Int64[np.ndarray, " N"]:
    """Return the cluster of every sequence, numbered by first rows.

    Two sequences whose identity on either strand is at least ``identity`` are in one cluster, and so is what a chain of
    such pairs connects (single linkage). The clusters do not depend on the order of the rows. Sequences that are equal,
    or reverse complements, are together however short; pairs of others are found by words that they share, which below
    12 bp there are none of.

    Parameters
    ----------
    sequences
        Of any length and case.
    identity
        In [0.65, 1], as :mod:`dnar2mae.homology.identity` defines it; below, unrelated sequences would be alike.
    advance
        Told how much is done, and of how much.

    Raises
    ------
    ConfigError
        The identity is out of its range.
    SequenceError
        There is no sequence, one is empty, or a letter is no nucleotide code.
    """
    if not 0.65 <= identity <= 1:
        raise ConfigError(f"identity must be in [0.65, 1], got {identity}")
    rows = [canonical(letters) for letters in upper(sequences)]
    distinct = sorted(set(rows))
    place = {letters: i for i, letters in enumerate(distinct)}
    linked = _linked(distinct, identity, advance or (lambda done, total: None))
    _, first, of_row = np.unique([linked[place[letters]] for letters in rows], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[of_row].astype(np.int64)


def split_by_homology(
    sequences: Sequence[str],
    *,
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
    identity: float = 0.8,
    seed: int = 0,
    advance: Callable[[int, int], None] | None = None,
) -> Int64[np.ndarray, " N"]:
    """Return the split of every sequence, an index of :data:`SPLIT_NAMES`; similar sequences are in one split.

    Whole clusters are placed, the largest first, equal ones in an order drawn by the seed, each in the split that lacks
    the largest part of its rows among those that can hold it. The split of a sequence depends on the seed and on the
    set, and not on the order of the rows.

    Parameters
    ----------
    sequences, identity, advance
        As :func:`clusters` takes them.
    shares
        Of train, dev and test, with a sum of 1; a split of share 0 stays empty.
    seed
        Of the order of equally large clusters.

    Raises
    ------
    ConfigError
        A share is negative, their sum is not 1, or a split gets no row because there are too few clusters.
    SequenceError
        As :func:`clusters` raises it.
    """
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ConfigError(f"shares of {', '.join(SPLIT_NAMES)} must be at least 0 with a sum of 1, got {shares}")
    cluster = clusters(sequences, identity=identity, advance=advance)
    sizes = np.bincount(cluster)
    split = _placed(sizes, _order(sequences, cluster, sizes, seed), np.array(shares) * len(cluster))[cluster]
    for number, name in enumerate(SPLIT_NAMES):
        if shares[number] > 0 and not (split == number).any():
            raise ConfigError(
                f"split by homology: no row is left for {name}: {len(sizes):,} clusters at {identity:.0%} identity, "
                f"the largest of {sizes.max():,} of {len(cluster):,} rows; a higher identity makes more of them"
            )
    return split


def _linked(distinct: Sequence[str], identity: float, advance: Callable[[int, int], None]) -> Int[np.ndarray, " N"]:
    """Return for each of the sorted sequences the first one of its cluster."""
    parent = np.arange(len(distinct))
    strands = (distinct, [reverse_complement(letters) for letters in distinct])
    total_bp = sum(map(len, distinct))
    weight, indexed = weight_for(2 * total_bp, total_bp), list(parts(distinct))
    least = least_shared(min(map(len, distinct)), identity, weight)
    done, total = 0, 2 * sum(len(distinct) - part.start for part in indexed)
    for part in indexed:
        index = WordIndex(distinct[part], weight)
        # each pair once: a sequence is compared with those before it
        for block in index.blocks(len(distinct) - part.start):
            queries = slice(part.start + block.start, part.start + block.stop)
            for strand in strands:
                for query, target in _candidates(index.shared(strand[queries], least), queries, part, parent):
                    first, second = _root(parent, query), _root(parent, target)
                    two = strand[query], distinct[target]
                    short, long = two if rank(distinct[query]) <= rank(distinct[target]) else two[::-1]
                    if first != second and identity_of(short, long, identity):
                        parent[max(first, second)] = min(first, second)
            _shorten(parent)
            done += 2 * (block.stop - block.start)
            advance(done, total)
    return parent


def _candidates(found: Pairs, queries: slice, part: slice, parent: np.ndarray) -> list[tuple[int, int]]:
    """Return the pairs to align of a block of queries, in terms of all sequences."""
    pairs, shared = found
    row, target = np.divmod(pairs, part.stop - part.start)
    query, target = row + queries.start, target + part.start
    is_open = (target < query) & (parent[query] != parent[target])
    row, query, target, shared = row[is_open], query[is_open], target[is_open], shared[is_open]
    chosen = most_shared(row, shared, _MOST_ALIGNED)
    return list(zip(query[chosen].tolist(), target[chosen].tolist(), strict=True))


def _root(parent: np.ndarray, member: int) -> int:
    while parent[member] != member:
        parent[member] = parent[parent[member]]
        member = parent[member]
    return int(member)


def _shorten(parent: np.ndarray) -> None:
    """Let every member point to the first one of its cluster."""
    while (parent[parent] != parent).any():
        parent[:] = parent[parent]


def _order(sequences: Sequence[str], cluster: np.ndarray, sizes: np.ndarray, seed: int) -> list[int]:
    """Return the clusters, the largest first, equal ones by a hash of the seed and of their first sequence."""
    keys = [""] * len(sizes)
    for letters, number in zip(upper(sequences), cluster.tolist(), strict=True):
        own = canonical(letters)
        keys[number] = min(keys[number] or own, own)
    drawn = [hashlib.blake2b(f"{seed} {letters}".encode(), digest_size=8).digest() for letters in keys]
    return sorted(range(len(sizes)), key=lambda number: (-sizes[number], drawn[number]))


def _placed(sizes: np.ndarray, order: Sequence[int], wanted: np.ndarray) -> Int64[np.ndarray, " C"]:
    split, lacking = np.zeros(len(sizes), np.int64), wanted.copy()
    parts_lacking = np.divide(1.0, wanted, out=np.zeros(len(wanted)), where=wanted > 0)
    for number in order:
        fits = (lacking >= sizes[number]) & (wanted > 0)
        by = np.where(fits, lacking * parts_lacking, -1.0) if fits.any() else np.where(wanted > 0, lacking, -np.inf)
        split[number] = int(np.argmax(by))
        lacking[split[number]] -= sizes[number]
    return split
