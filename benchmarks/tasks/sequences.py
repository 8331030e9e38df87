"""What a sequence must be, its reverse complement, and rows shared by two splits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from dnar2mae.errors import SequenceError
from dnar2mae.genome.alphabet import AMBIGUOUS

_LETTERS = frozenset("ACGTN" + AMBIGUOUS)
_COMPLEMENT = str.maketrans("ACGTNRYSWKMBDHV", "TGCANYRSWMKVHDB")
_TO_ACGTN = str.maketrans(dict.fromkeys(AMBIGUOUS, "N"))


def clean(sequence: object, where: str) -> str:
    """Upper-case a sequence, read U as T and other IUPAC letters as N.

    Parameters
    ----------
    sequence
        What a file holds.
    where
        File and row, for the message.

    Raises
    ------
    SequenceError
        The sequence is empty, no text, or has a letter that is no nucleotide code.
    """
    letters = sequence.strip().upper().replace("U", "T") if isinstance(sequence, str) else ""
    if not letters:
        raise SequenceError(f"{where}: the sequence is empty")
    if not _LETTERS.issuperset(letters):
        at = next(i for i, letter in enumerate(letters) if letter not in _LETTERS)
        raise SequenceError(f"{where}: expected nucleotide letters, got {letters[at]!r} at position {at + 1}")
    return letters.translate(_TO_ACGTN)


def reverse_complement(sequence: str) -> str:
    """Reverse complement of upper-case IUPAC letters."""
    return sequence.translate(_COMPLEMENT)[::-1]


def canonical(sequence: str) -> str:
    """Give the first in the alphabet of a sequence and its reverse complement: equal for both strands."""
    return min(sequence, reverse_complement(sequence))


@dataclass(frozen=True, kw_only=True, slots=True)
class Duplicates:
    """Test rows that another split holds too."""

    exact: Bool[np.ndarray, " N"]
    """Which rows occur there as they are."""
    reverse: Bool[np.ndarray, " N"]
    """Which rows occur there only as their reverse complement."""
    opposite: Bool[np.ndarray, " N"]
    """Which exact ones have another label there."""
    distinct: int
    """Distinct sequences among the exact ones."""


def find_duplicates(
    test: Sequence[str], labels: Int[np.ndarray, " N"], others: Sequence[str], other_labels: Int[np.ndarray, " M"]
) -> Duplicates:
    """Compare the rows of the test split with those of another one."""
    seen: dict[str, set[int]] = {}
    for sequence, label in zip(others, other_labels, strict=True):
        seen.setdefault(sequence, set()).add(int(label))
    exact = np.array([sequence in seen for sequence in test], bool)
    reverse = np.array([reverse_complement(sequence) in seen for sequence in test], bool) & ~exact
    differs = [bool(seen.get(sequence, set()) - {int(y)}) for sequence, y in zip(test, labels, strict=True)]
    return Duplicates(
        exact=exact,
        reverse=reverse,
        opposite=np.array(differs, bool),
        distinct=len({sequence for sequence, found in zip(test, exact, strict=True) if found}),
    )
