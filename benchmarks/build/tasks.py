"""Candidates of each task: windows around what is annotated, and a background to choose from."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from dnar2mae.benchmarks.build.examples import Examples, concatenate
from dnar2mae.genome.alphabet import SOFT_MASK, complement, encode
from dnar2mae.genome.annotation import Annotation
from dnar2mae.genome.intervals import Intervals, difference, intersection, intervals_of, union
from dnar2mae.genome.store import Genome

POOL = 16
"""Background windows to choose from, for each annotated one."""

_MOST_DRAWS = 1 << 23  # of candidate sites: 128 MiB as two int64 columns


class Candidates(NamedTuple):
    """Windows that a task may use."""

    classes: tuple[str, ...]
    examples: Examples
    """Annotated windows first."""
    background: int
    """Class whose shares of GC and N are matched to those of the others."""


class TaskSource(NamedTuple):
    """The genome, its annotation and the settings that all tasks are built from."""

    genome: Genome
    annotation: Annotation
    length_bp: int
    max_examples: int
    rng: np.random.Generator


def promoter(source: TaskSource) -> Candidates:
    """Return windows from 3/4 of their length before a transcript's first base on, or clear of all of these."""
    sites = _sites([_five_prime(t.spans, t.strand, t.name) for t in source.annotation.transcripts], source)
    before = 3 * source.length_bp // 4
    annotated = _windows(sites, before, source, label=1)
    taken = union(intervals_of(annotated.start, annotated.start + source.length_bp))
    background = _random(difference(source.genome.intervals, taken), len(sites) * POOL, source)
    return Candidates(("other", "promoter"), concatenate(annotated, background), 0)


def coding(source: TaskSource) -> Candidates:
    """Return windows in coding parts, read in their gene's direction, or off everything genic, on either strand."""
    annotated = []
    for strand in "+-":
        parts = [(t.name, *part) for t in source.annotation.transcripts if t.strand == strand for part in t.coding]
        annotated.append(_tiles(_intervals(parts, source.genome), strand == "-", 1, source))
    examples = concatenate(*annotated)
    genic = _intervals(source.annotation.genic, source.genome)
    background = _tiles(difference(source.genome.intervals, genic), False, 0, source)
    reverse = source.rng.integers(0, 2, len(background.start)) == 1
    background = background._replace(is_reverse=reverse)
    return Candidates(("intergenic", "coding"), concatenate(examples, background), 0)


def splice(source: TaskSource) -> Candidates:
    """Return windows centred on the first or last base of an intron, or on another GT or AG at the same offset."""
    half = source.length_bp // 2
    donors, acceptors = [], []
    for t in source.annotation.transcripts:
        for start, end in t.introns():
            five, three = (start, end) if t.strand == "+" else (end, start)
            donors.append((t.name, five, t.strand))
            acceptors.append((t.name, three, t.strand))
    donor, acceptor = (_sites(sites, source) for sites in (donors, acceptors))
    annotated = concatenate(_windows(acceptor, half, source, label=0), _windows(donor, half, source, label=1))
    wanted = len(annotated.start) * POOL // 2
    decoys = [
        _windows(_motif("GT", 0, donor, wanted, source), half, source, label=2),
        _windows(_motif("AG", -2, acceptor, wanted, source), half, source, label=2),
    ]
    return Candidates(("acceptor", "donor", "neither"), concatenate(annotated, *decoys), 2)


def gene_start(source: TaskSource) -> Candidates:
    """Return windows centred on the ATG that starts a gene, or on another ATG."""
    half = source.length_bp // 2
    starts = []
    for t in source.annotation.transcripts:
        if t.coding:
            starts.append(_five_prime(t.coding, t.strand, t.name))
    sites = _sites(starts, source)
    annotated = _windows(sites[_reads(sites, "ATG", 0, source.genome)], half, source, label=1)
    others = _motif("ATG", 0, sites, len(annotated.start) * POOL, source)
    return Candidates(("other ATG", "gene start"), concatenate(annotated, _windows(others, half, source, label=0)), 0)


def strand(source: TaskSource) -> Candidates:
    """Return windows inside genes of one strand and clear of those of the other, always read forward."""
    spans = {
        sign: _intervals(
            [(t.name, *span) for t in source.annotation.transcripts if t.strand == sign for span in t.spans],
            source.genome,
        )
        for sign in "+-"
    }
    forward = _tiles(difference(spans["+"], spans["-"]), False, 0, source)
    reverse = _tiles(difference(spans["-"], spans["+"]), False, 1, source)
    return Candidates(("+", "-"), concatenate(forward, reverse), 1)


MAKERS: dict[str, Callable[[TaskSource], Candidates]] = {
    "promoter": promoter,
    "coding": coding,
    "splice": splice,
    "gene_start": gene_start,
    "strand": strand,
}

Sites = Int64[np.ndarray, "_ 2"]
"""Boundaries between bases in concatenated coordinates, and 1 where read as the reverse complement.

The site's first base is the one after the boundary on the forward strand, the one before it on the reverse strand.
"""


def _five_prime(parts: Sequence[tuple[int, int]], sign: str, name: str) -> tuple[str, int, str]:
    return name, parts[0][0] if sign == "+" else parts[-1][1], sign


def _sites(annotated: list[tuple[str, int, str]], source: TaskSource) -> Sites:
    """Return distinct sites, at most ``max_examples`` of them."""
    genome = source.genome
    pairs = [(int(genome.offsets[genome.index[name]]) + at, sign == "-") for name, at, sign in annotated]
    sites = np.unique(np.array(pairs, np.int64).reshape(-1, 2), axis=0)
    return sites[np.sort(source.rng.permutation(len(sites))[: source.max_examples])]


def _windows(sites: Sites, before: int, source: TaskSource, label: int) -> Examples:
    """Return windows with ``before`` bases ahead of each site in its direction of reading, if they fit the genome."""
    reverse = sites[:, 1] == 1
    start = np.where(reverse, sites[:, 0] - (source.length_bp - before), sites[:, 0] - before)
    fits = (start >= 0) & (start + source.length_bp <= source.genome.total_bp)
    return Examples(start[fits], reverse[fits], np.full(int(fits.sum()), label, np.int64))


def _reads(sites: Sites, motif: str, offset: int, genome: Genome) -> np.ndarray:
    """Mark the sites that have the motif, ``offset`` bases from their first base in the direction of reading."""
    size = len(motif)
    reverse = sites[:, 1] == 1
    start = np.where(reverse, sites[:, 0] - offset - size, sites[:, 0] + offset)
    fits = (start >= 0) & (start + size <= genome.total_bp)
    codes = genome.windows(np.where(fits, start, 0), size) & np.uint8(SOFT_MASK - 1)
    codes = np.where(reverse[:, None], complement(codes[:, ::-1]), codes)
    return fits & (codes == encode(motif.encode())).all(1)


def _motif(motif: str, offset: int, taken: Sites, wanted: int, source: TaskSource) -> Sites:
    """Draw sites with the motif that are not among those taken, about as many as wanted."""
    draws = min(wanted * 4 ** len(motif), _MOST_DRAWS)  # among random bases one in 4^k has the motif
    at = source.rng.integers(0, source.genome.total_bp, draws)
    sites = np.stack([at, source.rng.integers(0, 2, draws)], axis=1)
    sites = np.unique(sites[_reads(sites, motif, offset, source.genome)], axis=0)
    is_taken = np.isin(sites @ [2, 1], taken @ [2, 1])  # boundary and strand as one number
    return source.rng.permutation(sites[~is_taken])


def _intervals(parts: list[tuple[str, int, int]], genome: Genome) -> Intervals:
    """Return merged intervals in concatenated coordinates, none across two sequences."""
    shifted = [
        (int(genome.offsets[genome.index[n]]) + a, int(genome.offsets[genome.index[n]]) + b) for n, a, b in parts
    ]
    pairs = np.array(shifted, np.int64).reshape(-1, 2)
    return intersection(union(pairs), genome.intervals)


def _tiles(regions: Intervals, is_reverse: bool, label: int, source: TaskSource) -> Examples:
    """Return windows side by side in each region, from a random offset on, at most ``max_examples``."""
    length = source.length_bp
    room = regions[:, 1] - regions[:, 0]
    shift = np.floor(source.rng.random(len(regions)) * (room % length + 1)).astype(np.int64)
    count = room // length
    first = np.repeat(regions[:, 0] + shift, count)
    number = np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
    start = np.sort(source.rng.permutation(first + number * length)[: source.max_examples])
    return Examples(start, np.full(len(start), is_reverse), np.full(len(start), label, np.int64))


def _random(regions: Intervals, wanted: int, source: TaskSource) -> Examples:
    """Draw windows wholly inside regions, on either strand, of class 0."""
    room = np.maximum(regions[:, 1] - regions[:, 0] - source.length_bp + 1, 0)
    total = int(room.sum())
    draws = np.sort(source.rng.integers(0, max(total, 1), wanted if total else 0))
    ends = np.cumsum(room)
    region = np.searchsorted(ends, draws, side="right")
    start = regions[region, 0] + draws - (ends - room)[region]
    order = source.rng.permutation(len(start))
    reverse = source.rng.integers(0, 2, len(start)) == 1
    return Examples(start[order], reverse, np.zeros(len(start), np.int64))
