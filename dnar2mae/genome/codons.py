"""The codons of annotated coding sequences, in their frame."""

from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from dnar2mae.errors import SequenceError
from dnar2mae.genome.alphabet import SOFT_MASK, UNKNOWN, complement
from dnar2mae.genome.annotation import Transcript
from dnar2mae.genome.store import Genome

STANDARD_CODE = 11
"""Genetic code where an annotation names none: NCBI's table 11, whose stop codons are those of the standard code."""
STARTS = ("ATG", "GTG", "TTG")
"""Codons that genes commonly begin with; NCBI's tables list others too, from which few proteins are made."""


class Codons(NamedTuple):
    """The whole codons of a coding sequence, in reading order."""

    position: Int64[np.ndarray, "C 3"]
    """Of each base, in concatenated coordinates."""
    letters: UInt8[np.ndarray, "C 3"]
    """Codes 0 to 4 as read, so of the reverse strand where the gene lies there."""
    begins: bool
    """The first codon is the first of the coding sequence: no part of a codon comes before it."""


def read_codons(transcript: Transcript, genome: Genome) -> Codons | None:
    """Return the codons of a transcript's coding parts, which are read as one sequence.

    Parameters
    ----------
    transcript
        Its phases say how many bases of each part come before the first whole codon of that part.
    genome
        The genome that it is annotated on.

    Returns
    -------
    Codons or None
        None where no frame fits the annotation: there is no codon, parts overlap or go over an origin, the phase of a
        part does not go on where the part before it ended, or a stop codon comes before the last codon (pseudogenes,
        programmed frameshifts, stop codons read as an amino acid).

    Raises
    ------
    SequenceError
        If the genetic code has no known table.
    """
    offset, step = int(genome.offsets[genome.index[transcript.name]]), 1 if transcript.strand == "+" else -1
    phases = transcript.phases or (None,) * len(transcript.coding)
    parts = list(zip(transcript.coding, phases, strict=True))[::step]
    if not parts or any(left[1] > right[0] for left, right in pairwise(transcript.coding)):
        return None
    skipped, length = parts[0][1] or 0, 0
    for (start, end), phase in parts:
        if phase is not None and phase != (skipped - length) % 3:
            return None
        length += end - start
    position = np.concatenate([np.arange(start, end)[::step] for (start, end), _ in parts])
    position = position[skipped : skipped + (length - skipped) // 3 * 3].reshape(-1, 3) + offset
    lowest = transcript.coding[0][0] + offset
    codes = genome.span(lowest, transcript.coding[-1][1] + offset) & np.uint8(SOFT_MASK - 1)
    letters = codes[position - lowest]
    letters = letters if step == 1 else complement(letters)
    if not len(letters) or makes_stop(letters, transcript.genetic_code or STANDARD_CODE)[:-1].any():
        return None
    return Codons(position, letters, begins=skipped == 0)


def makes_stop(words: UInt8[np.ndarray, "*N 3"], genetic_code: int) -> Bool[np.ndarray, "*N"]:
    """Mark the words of three bases that are stop codons under a genetic code; one with an unknown base is none.

    Raises
    ------
    SequenceError
        If the genetic code has no known table.
    """
    return _stops(genetic_code)[words[..., 0], words[..., 1], words[..., 2]]


@cache
def _stops(genetic_code: int) -> np.ndarray:
    from Bio.Data.CodonTable import unambiguous_dna_by_id

    if genetic_code not in unambiguous_dna_by_id:
        known = ", ".join(map(str, sorted(unambiguous_dna_by_id)))
        raise SequenceError(f"transl_table must be a genetic code of NCBI ({known}), got {genetic_code}")
    table = np.zeros((UNKNOWN + 1,) * 3, bool)
    for codon in unambiguous_dna_by_id[genetic_code].stop_codons:
        table[tuple("ACGT".index(letter) for letter in codon)] = True
    return table
