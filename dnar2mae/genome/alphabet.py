"""The one-byte code of a base: A, C, G, T, N are 0..4, and bit 8 marks lower case (soft-masked repeats).

U is read as T. Every other IUPAC letter stands for more than one base and becomes N, and so does X, by which some
programs mask repeats. The complement of a known base is ``3 - code``.
"""

import numpy as np
from jaxtyping import UInt8

from dnar2mae.errors import SequenceError

SOFT_MASK = 8
"""Bit set in the code of a lower-case base."""

UNKNOWN = 4
"""Code of N and, when read, of every other ambiguous IUPAC letter."""

AMBIGUOUS = "RYSWKMBDHVX"
"""Letters other than N that become N."""

_ILLEGAL = 255
# by code: the lower-case letters begin at SOFT_MASK
_LETTERS = b"ACGTN...acgtn"
_TO_LETTER = _LETTERS.ljust(256, b".")


def _encoding() -> bytes:
    table = np.full(256, _ILLEGAL, np.uint8)
    for letters, code in (("A", 0), ("C", 1), ("G", 2), ("TU", 3), ("N" + AMBIGUOUS, UNKNOWN)):
        for letter in letters:
            table[ord(letter)], table[ord(letter.lower())] = code, code | SOFT_MASK
    return table.tobytes()


_TO_CODE = _encoding()


def encode(letters: bytes) -> UInt8[np.ndarray, " L"]:
    """Return the codes of letters; 255 stands for a byte that is no IUPAC letter."""
    return np.frombuffer(letters.translate(_TO_CODE), np.uint8)


def encode_text(sequence: str, where: str = "") -> UInt8[np.ndarray, " L"]:
    """Return the codes of a DNA string; ``where`` begins an error's message.

    Raises
    ------
    SequenceError
        If a letter is not an IUPAC nucleotide code.
    """
    codes = encode(sequence.encode("latin-1", "replace"))
    if (codes == _ILLEGAL).any():
        at = int(np.argmax(codes == _ILLEGAL))
        raise SequenceError(f"{where}position {at + 1}: expected a nucleotide letter, got {sequence[at]!r}")
    return codes


def decode(codes: UInt8[np.ndarray, " L"]) -> str:
    """Return the letters of codes, soft-masked ones in lower case."""
    return codes.tobytes().translate(_TO_LETTER).decode("ascii")


def complement(codes: UInt8[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    """Complement each base, order kept: known bases become ``3 - code``; N and the soft-mask bit stay."""
    # 1 for A, C, G, T, in whose codes bit 4 is not set; for these ``code ^ 3`` is ``3 - code``
    known = (codes >> 2 & 1) ^ 1
    return codes ^ (known * np.uint8(3))
