"""The rules that a sequence must keep, and its reverse complement."""

from dnar2mae.errors import SequenceError
from dnar2mae.genome.alphabet import AMBIGUOUS

_LETTERS = frozenset("ACGTN" + AMBIGUOUS)
_COMPLEMENT = str.maketrans("ACGTNRYSWKMBDHV", "TGCANYRSWMKVHDB")
_TO_ACGTN = str.maketrans(dict.fromkeys(AMBIGUOUS, "N"))


def clean(sequence: object, where: str) -> str:
    """Upper-case a sequence, read U as T and other IUPAC letters as N; messages begin with ``where``, file and row.

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
    """Return the reverse complement of upper-case IUPAC letters."""
    return sequence.translate(_COMPLEMENT)[::-1]


def canonical(sequence: str) -> str:
    """Return a sequence or its reverse complement, whichever sorts first: the same for both strands."""
    return min(sequence, reverse_complement(sequence))
