"""Pairs of substitutions that differ in what they break, and in nothing that a short context tells."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from dnar2mae.genome.alphabet import SOFT_MASK, decode
from dnar2mae.random import Stream, draw
from dnar2mae.variants.alleles import Variant
from dnar2mae.variants.binding_sites import BindingSites
from dnar2mae.variants.control_sites import CONTROLS, FLANK_BP, AnnotatedBases, Control, Sites

REACH_BP = 5000
"""Farthest that the two of a pair lie apart: an isochore or an operon, not half the chromosome."""


class ControlVariant(NamedTuple):
    """One of a pair."""

    control: Control
    pair: int
    """Number that the two share, from 1 in each control."""
    breaks: bool
    """It breaks what is annotated; else the match of one that does."""
    strand: str
    """Strand on which the word is read."""
    variant: Variant
    """The substitution, on the forward strand."""


def draw_pairs(bases: AnnotatedBases | BindingSites, control: Control, number: int, seed: int) -> list[ControlVariant]:
    """Draw pairs of a control.

    A position that breaks something is drawn at random, at most one of a codon or splice site. Its match is the nearest
    base, at most ``REACH_BP`` away and in no other pair of this control, with the same substitution on the same strand
    in the same word, including the neighbours of the changed base, that breaks nothing annotated:

    - ``stop_gained``: the codon that becomes a stop codon, in coding sequence at another frame;
    - ``start_lost``: the start codon, in coding sequence at another frame;
    - ``splice_broken``: the base of GT or AG with its neighbours, in the same transcript and 10 bp or more from every
      splice site;
    - ``site_broken``: the base of a binding site with its neighbours, 10 bp or more from every site.

    Parameters
    ----------
    bases
        The annotated region.
    control
        Which of the controls.
    number
        Pairs to draw; fewer are returned where the region has no more.
    seed
        Seed of the draw: the same pairs for the same region, annotation and seed.

    Returns
    -------
    list of ControlVariant
        Pair after pair, the breaking one first.
    """
    sites = bases.sites(control)
    counter = sites.alt + 4 * sites.place + 12 * sites.is_reverse + 24 * CONTROLS.index(control)
    order = np.argsort(draw(seed, Stream.CONTROL, sites.position, counter)[0], kind="stable")
    pairs: list[ControlVariant] = []
    taken: set[int] = set()
    drawn: set[int] = set()
    for row in order:
        if len(pairs) == 2 * number:
            break
        site = Sites(*(column[row] for column in sites))
        if int(site.first) in drawn:
            continue
        match = _nearest(bases, control, site, taken)
        if match is not None:
            drawn.add(int(site.first))
            taken.add(match)
            of_pair = len(pairs) // 2 + 1
            pairs += [_variant(bases, control, of_pair, site, at) for at in (int(site.position), match)]
    return pairs


def _nearest(bases: AnnotatedBases | BindingSites, control: Control, site: Sites, taken: set[int]) -> int | None:
    """Return the nearest base that fits; the lower one of two."""
    position, at = int(site.position), _same_word(bases, site)
    at = at[bases.fits(control, site, at)]
    nearest = at[np.argsort(np.abs(at - position), kind="stable")].tolist()
    return next((p for p in nearest if p not in taken), None)


def _same_word(bases: AnnotatedBases | BindingSites, site: Sites) -> Int64[np.ndarray, " N"]:
    """Return the other positions near a site with the same bases in the word and beside the changed base."""
    position, place = int(site.position), int(site.place)
    low, high = max(int(site.low), position - REACH_BP), min(int(site.high), position + REACH_BP + 1)
    codes = bases.genome.span(low - FLANK_BP, high + FLANK_BP) & np.uint8(SOFT_MASK - 1)
    same = np.ones(high - low, bool)
    for offset in range(min(-place, -1), max(2 - place, 1) + 1):
        start = FLANK_BP + (-offset if site.is_reverse else offset)
        shifted = codes[start : start + high - low]
        same &= shifted == shifted[position - low]
    same[position - low] = False
    return np.flatnonzero(same) + low


def _variant(bases: AnnotatedBases | BindingSites, control: Control, pair: int, site: Sites, at: int) -> ControlVariant:
    genome, is_reverse = bases.genome, bool(site.is_reverse)
    sequence = int(genome.sequence_of(np.array([at]))[0])
    ref = decode(genome.span(at, at + 1) & np.uint8(SOFT_MASK - 1))
    alt = "ACGT"[3 - int(site.alt) if is_reverse else int(site.alt)]
    variant = Variant(genome.names[sequence], at - int(genome.offsets[sequence]), ref, (alt,))
    return ControlVariant(control, pair, at == int(site.position), "-" if is_reverse else "+", variant)
