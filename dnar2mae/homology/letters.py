"""Sequences as they are compared: upper-case A, C, G, T and N, on either strand."""

from collections.abc import Sequence

from dnar2mae.errors import SequenceError
from dnar2mae.genome.alphabet import complement, decode, encode_text

_BASE = 7  # the bits of a code without that of lower case


def upper(sequences: Sequence[str], what: str = "sequences") -> list[str]:
    """Return sequences in upper case, U as T and other IUPAC letters as N.

    Raises
    ------
    SequenceError
        There is none, one is empty, or a letter is no nucleotide code; ``what`` begins the message.
    """
    if not len(sequences):
        raise SequenceError(f"{what}: expected at least one sequence, got none")
    if "" in sequences:
        raise SequenceError(f"{what}: row {list(sequences).index('') + 1}: the sequence is empty")
    return [decode(encode_text(text, f"{what}: row {row}, ") & _BASE) for row, text in enumerate(sequences, 1)]


def reverse_complement(sequence: str) -> str:
    """Return the other strand of upper-case letters, 5' to 3'."""
    return decode(complement(encode_text(sequence)[::-1]))


def canonical(sequence: str) -> str:
    """Return a sequence or its reverse complement, whichever sorts first: the same for both strands."""
    return min(sequence, reverse_complement(sequence))
