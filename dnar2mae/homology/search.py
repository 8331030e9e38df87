"""For each sequence of a test set the most similar one of a training set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64

from dnar2mae.homology.identity import identity_of, rank
from dnar2mae.homology.letters import canonical, reverse_complement, upper
from dnar2mae.homology.seeds import WordIndex, least_shared, most_shared, parts, weight_for

IDENTITIES = (0.5, 0.7, 0.9)
"""Levels that audits report."""
BEYOND_CHANCE = 0.1
"""By how much an identity must exceed what the same row reaches in training sequences read backwards."""
_MOST_ALIGNED = 50
"""Pairs that are aligned of one test sequence and strand: those that share most words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Homologues:
    """The best identity of every test row with a training row.

    Training sequences read backwards (not complemented) have the same letters, runs and simple repeats and no common
    descent: what a test row reaches there, any unrelated sequences of this composition and number reach.
    """

    identity: Float[np.ndarray, " N"]
    """Best identity found in the training rows, on either strand; 0 below the lowest level."""
    row: Int64[np.ndarray, " N"]
    """Index of that training row; -1 where there is none."""
    chance: Float[np.ndarray, " N"]
    """Best identity found in the training rows read backwards."""
    exact: Bool[np.ndarray, " N"]
    """Which rows are training rows, or their reverse complements."""

    def at(self, level: float) -> Bool[np.ndarray, " N"]:
        """Mark the rows that have a homologue of at least this identity, by 0.1 beyond chance; exact ones always."""
        return self.exact | _beyond(self.identity, self.chance, level)

    def by_chance(self, level: float) -> Bool[np.ndarray, " N"]:
        """Mark the rows that would be taken to have one in the training rows read backwards."""
        return ~self.exact & _beyond(self.chance, self.identity, level)


def homologues(
    train: Sequence[str],
    test: Sequence[str],
    identities: Sequence[float] = IDENTITIES,
    advance: Callable[[int, int], None] | None = None,
) -> Homologues:
    """Return for each test row the best identity found in train, and the row that has it.

    Parameters
    ----------
    train, test
        Sequences of any length and case.
    identities
        The lowest of these levels, in (0, 1], is the lowest identity that is looked for.
    advance
        Told how much is done, and of how much.

    Raises
    ------
    SequenceError
        One of the sets is empty, a sequence is, or a letter is no nucleotide code.
    """
    from_train = _first_rows(upper(train, "train"))
    rows = [canonical(letters) for letters in upper(test, "test")]
    known = np.array([from_train.get(letters, -1) for letters in rows], np.int64)
    queries, targets = sorted({letters for letters in rows if letters not in from_train}), sorted(from_train)
    done, total = 0, 4 * len(queries) * max(len(list(parts(targets))), 1)

    def step(number: int) -> None:
        nonlocal done
        done += number
        if advance is not None:
            advance(done, total)

    lowest = min(identities)
    best, target = _best(queries, targets, lowest, step)
    chance, _ = _best(queries, [letters[::-1] for letters in targets], lowest, step)
    place = {letters: i for i, letters in enumerate(queries)}
    at = np.array([place.get(letters, -1) for letters in rows], np.int64)
    row_of = np.array([*(from_train[letters] for letters in targets), -1], np.int64)
    is_exact = known >= 0
    return Homologues(
        identity=np.where(is_exact, 1.0, np.append(best, 0.0)[at]),
        row=np.where(is_exact, known, row_of[np.append(target, -1)[at]]),
        chance=np.where(is_exact, 0.0, np.append(chance, 0.0)[at]),
        exact=is_exact,
    )


def _beyond(found: np.ndarray, chance: np.ndarray, level: float) -> np.ndarray:
    return (found >= level - 1e-9) & (found >= chance + BEYOND_CHANCE - 1e-9)


def _first_rows(sequences: Sequence[str]) -> dict[str, int]:
    """Return the first row of each sequence, both strands being one."""
    rows: dict[str, int] = {}
    for row, letters in enumerate(sequences):
        rows.setdefault(canonical(letters), row)
    return rows


def _best(
    queries: Sequence[str], targets: Sequence[str], lowest: float, step: Callable[[int], None]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best identity of each query, 0 where none reaches the lowest, and the index of the target or -1."""
    best, found = np.zeros(len(queries)), np.full(len(queries), -1)
    reversed_queries = [reverse_complement(letters) for letters in queries]
    weight = weight_for(2 * sum(map(len, queries)), sum(map(len, targets)))
    least = least_shared(min(map(len, queries), default=0), lowest, weight)
    for part in parts(targets):
        index = WordIndex(targets[part], weight)
        size = part.stop - part.start
        for strand in (queries, reversed_queries):
            for block in index.blocks(len(queries)):
                pairs, shared = index.shared(strand[block], least)
                for pair in pairs[most_shared(pairs // size, shared, _MOST_ALIGNED)].tolist():
                    query, target = block.start + pair // size, part.start + pair % size
                    # an identity that is no better than the best so far need not be known
                    above = max(lowest, best[query] + 1e-6)
                    two = strand[query], targets[target]
                    short, long = two if rank(queries[query]) <= rank(targets[target]) else two[::-1]
                    if above <= 1 and (value := identity_of(short, long, above)):
                        best[query], found[query] = value, target
                step(block.stop - block.start)
    return best, found
