"""Weight matrices of motifs, in MEME's minimal format, and the substitutions that break a site of one."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64, UInt8

from dnar2mae.errors import SequenceError, raising
from dnar2mae.genome.alphabet import UNKNOWN
from dnar2mae.storage.compressed import READ_ERRORS, open_maybe_gzip_text
from dnar2mae.storage.remote import local_path

_KEPT, _BROKEN = 0.9, 0.05
_BACKGROUND = re.compile(r"A\s+(\S+)\s+C\s+(\S+)\s+G\s+(\S+)\s+T\s+(\S+)")
_MATRIX = "letter-probability matrix"
_WIDTH = re.compile(r"\bw=\s*(\d+)")
# as rounded by the programs that write such files
_SUM_TOLERANCE = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Motifs:
    """Weight matrices and the base shares around their sites."""

    matrices: Mapping[str, Float[np.ndarray, "_ 4"]]
    """By name: the probability of A, C, G and T at each position; rows sum to 1."""
    background: Float[np.ndarray, " 4"]
    """Shares of A, C, G and T elsewhere; they sum to 1."""

    def lines(self) -> Iterator[str]:
        """Yield the lines of a file in MEME's minimal format, version 4."""
        yield "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\nBackground letter frequencies\n"
        shares = zip("ACGT", self.background, strict=True)
        yield " ".join(f"{letter} {share:.4f}" for letter, share in shares) + "\n"
        for name, matrix in self.matrices.items():
            # programs that turn probabilities into counts of sites lose digits where there are few
            yield f"\nMOTIF {name}\n{_MATRIX}: alength= 4 w= {len(matrix)} nsites= 100000 E= 0\n"
            for row in matrix:
                yield " " + " ".join(f"{share:.6f}" for share in row) + "\n"


def read_motifs(path: Path) -> Motifs:
    """Read the weight matrices of a file in MEME's minimal format (JASPAR, HOCOMOCO and CIS-BP offer theirs in it).

    Parameters
    ----------
    path
        The file, plain or compressed. A matrix is named by the first word after ``MOTIF``; without background
        frequencies the four bases are equally likely.

    Raises
    ------
    SequenceError
        If the file cannot be read, a matrix has not four probabilities a position that sum to 1, fewer rows than it
        says, or the name of another, or a base has a background frequency of 0.
    """
    with raising(SequenceError, f"{path}: cannot be read; check the path and the file", *READ_ERRORS):
        with open_maybe_gzip_text(local_path(path), errors="replace") as file:
            lines = [line.strip() for line in file]
    background, name, matrices = np.full(4, 0.25), "", {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if match := _BACKGROUND.fullmatch(line):
            background = _shares(path, number, match.groups())
            if not background.all():
                raise SequenceError(f"{path}:{number}: background frequencies must be > 0, got {line}")
        elif words[:1] == ["MOTIF"] and len(words) > 1:
            name = words[1]
        elif line.startswith(_MATRIX):
            if name in matrices:
                raise SequenceError(f"{path}:{number}: a second matrix of {name!r}: names must differ")
            rows = list(_matrix(path, number + 1, (row.split() for row in lines[number:])))
            # else a file that was cut short would give a shorter matrix, of which no annotated site has the length
            said = _WIDTH.search(line)
            wanted = f"{said[1]} rows" if said else "a row"
            if not rows or (said and len(rows) != int(said[1])):
                raise SequenceError(
                    f"{path}:{number}: the matrix of {name!r} must have {wanted} of four probabilities, got {len(rows)}"
                )
            matrices[name] = np.array(rows)
    if not matrices:
        raise SequenceError(f"{path}: no line begins with '{_MATRIX}': expected a file in MEME's minimal format")
    return Motifs(matrices=matrices, background=background)


def _matrix(path: Path, first: int, rows: Iterator[list[str]]) -> Iterator[np.ndarray]:
    for number, row in enumerate(rows, first):
        if len(row) != 4:
            return
        yield _shares(path, number, row)


def _shares(path: Path, number: int, words: object) -> np.ndarray:
    try:
        shares = np.array(words, np.float64)
    except ValueError:
        shares = np.full(4, np.nan)
    if not (np.all(shares >= 0) and abs(shares.sum() - 1) <= _SUM_TOLERANCE):
        raise SequenceError(f"{path}:{number}: expected probabilities of A, C, G and T that sum to 1, got {words}")
    return shares / shares.sum()


def breaking(
    matrix: Float[np.ndarray, "W 4"], site: UInt8[np.ndarray, " W"]
) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
    """Return place and new base of the substitutions that break a site.

    They replace a base to which the matrix gives 0.9 or more by one to which it gives 0.05 or less.

    Parameters
    ----------
    matrix
        The site's weight matrix, read on the strand of ``site``.
    site
        Base codes.
    """
    kept = matrix[np.arange(len(site)), np.minimum(site, UNKNOWN - 1)] >= _KEPT
    place, base = np.nonzero((matrix <= _BROKEN) & (kept & (site < UNKNOWN))[:, None])
    return place, base
