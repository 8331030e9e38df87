"""Variants beside their genome: which alleles can be scored, each in its shortest form as far left as it goes.

The same change can be written in many ways: ``CA>C`` and ``CAA>CA`` are one deletion in a run of A, and so is every
``AA>A`` along the run. Alleles lose the bases that both share, then an insertion or deletion moves to the left
for as long as that changes nothing, as ``bcftools norm`` does it.

References
----------
.. [1] Tan et al., "Unified representation of genetic variants", Bioinformatics 2015.
"""

import re
from os.path import commonprefix
from typing import NamedTuple

import numpy as np

from dnar2mae.genome.alphabet import SOFT_MASK, UNKNOWN, encode
from dnar2mae.genome.store import Genome

ALT_IS_REF = "alt_is_ref"
SCORED = "scored"
_BASES = re.compile("[ACGT]*")
_BLOCK_BP = 256  # bases read at once on the way left: longer than nearly all repeats


class Variant(NamedTuple):
    """A site and its alleles, any case."""

    name: str
    """Sequence in the genome; ``1`` and ``chr1`` are taken for each other."""
    start: int
    """First reference base, 0-based."""
    ref: str
    """Reference bases; none for an insertion before ``start``."""
    alts: tuple[str, ...]
    """Alternative alleles; an empty one is a deletion of ``ref``."""


class Allele(NamedTuple):
    """One change in its shortest form: no base at either end is shared, and an indel lies as far left as it can."""

    name: str
    """Sequence, as the genome names it."""
    start: int
    ref: str
    alt: str


class Site(NamedTuple):
    """A variant after the comparison with the genome."""

    alleles: tuple[Allele, ...]
    """Those that can be scored, in the order given."""
    statuses: list[str]
    """One an alternative allele: ``scored`` or why it cannot be."""
    mismatch: bool = False
    """Whether REF is not the genome's."""


def judge(genome: Genome, variant: Variant, longest_bp: int) -> Site:
    """Compare a variant with the genome.

    Parameters
    ----------
    genome
        The genome that it refers to.
    variant
        Any site and alleles.
    longest_bp
        Most bases of an allele in its shortest form.
    """
    alts = [alt.upper() for alt in variant.alts]
    variant = variant._replace(name=genome.find(variant.name) or "", ref=variant.ref.upper())
    if fault := _fault(genome, variant):
        return Site((), [fault] * len(alts), fault == "ref_mismatch")
    alleles, statuses = [], []
    for alt in alts:
        allele = shortest(genome, variant, alt) if _BASES.fullmatch(alt) else None
        if allele is None:
            statuses.append("alt_unknown")
        elif alt == variant.ref:
            statuses.append(ALT_IS_REF)
        elif max(len(allele.ref), len(allele.alt)) > longest_bp:
            statuses.append("too_long")
        else:
            statuses.append(SCORED)
            alleles.append(allele)
    return Site(tuple(alleles), statuses)


def shortest(genome: Genome, variant: Variant, alt: str) -> Allele:
    """Trim the bases that both alleles share and move an insertion or deletion to the left.

    Parameters
    ----------
    genome
        The genome.
    variant
        A site whose name and reference bases are the genome's, in upper case.
    alt
        One of its alternatives, in upper case.
    """
    ref, start = variant.ref, variant.start
    # the end first: what is left then begins as far left as the two spellings allow
    shared = len(commonprefix([ref[::-1], alt[::-1]]))
    ref, alt = ref[: len(ref) - shared], alt[: len(alt) - shared]
    shared = len(commonprefix([ref, alt]))
    ref, alt, start = ref[shared:], alt[shared:], start + shared
    if ref and alt or ref == alt:
        return Allele(variant.name, start, ref, alt)
    shift = _room_left(genome, variant.name, start, ref or alt)
    turn = len(ref or alt) - shift % len(ref or alt)
    return Allele(variant.name, start - shift, ref[turn:] + ref[:turn], alt[turn:] + alt[:turn])


def _room_left(genome: Genome, name: str, start: int, bases: str) -> int:
    """Return how far to the left inserted or deleted bases can move without changing the sequence that results.

    They can by one where the base before them is their last one, which then becomes their first.
    """
    shift = 0
    while shift < start:
        before = genome.fetch(name, max(start - shift - _BLOCK_BP, 0), start - shift).upper()
        for base in reversed(before):
            if base != bases[-1 - shift % len(bases)]:
                return shift
            shift += 1
    return shift


def _fault(genome: Genome, variant: Variant) -> str | None:
    """Return why no allele of a site can be scored."""
    if not variant.name:
        return "no_contig"
    end = variant.start + len(variant.ref)
    if variant.start < 0 or end > genome.lengths[genome.index[variant.name]]:
        return "outside"
    codes = genome.codes(variant.name, variant.start, end) & ~np.uint8(SOFT_MASK)
    if not _BASES.fullmatch(variant.ref) or (codes >= UNKNOWN).any():
        return "ref_unknown"
    return "ref_mismatch" if (encode(variant.ref.encode()) != codes).any() else None
