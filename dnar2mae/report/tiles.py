"""Short pieces of held-out DNA, each with what the annotation says of most of its bases."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Int64, UInt8

from dnar2mae.batch import evenly_spaced
from dnar2mae.genome.annotation_lines import AnnotationLine
from dnar2mae.genome.intervals import Intervals, union
from dnar2mae.genome.store import Genome

# What lies in several is the last of them: a coding part is part of an exon, that of a gene.
_KINDS = (
    ("between genes", r"(?!)", ""),
    ("repeat", r"repeat|transposable|mobile_genetic", ""),
    ("promoter", r"promoter$|enhancer$|regulatory_region$", ""),
    ("CpG island", r"CpG_island$", ""),
    ("gene outside exons", r"(gene|RNA|transcript)$", ""),
    ("exon, not coding", r"(exon|UTR)$", ""),
    ("coding, + strand", r"CDS$", "+"),
    ("coding, - strand", r"CDS$", "-"),
)
_LEAST_SHARE = 0.75
"""Of a tile's bases, for a label: less is a mixture."""


def labelled_tiles(
    genome: Genome, region: Intervals, lines: Sequence[AnnotationLine], tile_bp: int, number: int
) -> tuple[pd.DataFrame, int]:
    """Cut a region into tiles and label them by the annotation.

    Parameters
    ----------
    genome
        The genome.
    region
        Sorted, disjoint intervals in concatenated coordinates, each inside one sequence.
    lines
        Its annotation.
    tile_bp
        Length of a tile.
    number
        Most tiles to return, as many of each label as of any other, evenly spaced among all of it.

    Returns
    -------
    tiles
        ``name``, ``start``, ``end`` (0-based half-open), ``strand`` (+) and ``label``.
    mixed
        Tiles that were left out since no label holds for three quarters of their bases.
    """
    parts = [np.arange(start, end - tile_bp + 1, tile_bp) for start, end in region.tolist()]
    starts = np.concatenate([np.empty(0, np.int64), *parts])
    kinds = _kinds_of_bases(genome, region, lines)
    counts = np.stack([(kinds[starts[:, None] + np.arange(tile_bp)] == kind).sum(1) for kind in range(len(_KINDS))], 1)
    kept = np.flatnonzero(counts.max(1) >= _LEAST_SHARE * tile_bp)
    mixed = len(starts) - len(kept)
    kind = counts[kept].argmax(1)
    of_each = (np.flatnonzero(kind == one) for one in range(len(_KINDS)))
    chosen = np.sort(np.concatenate([rows[evenly_spaced(len(rows), number // len(_KINDS))] for rows in of_each]))
    kept, kind = kept[chosen], kind[chosen]
    sequence = genome.sequence_of(starts[kept])
    first = starts[kept] - genome.offsets[sequence]
    tiles = pd.DataFrame({"name": np.array(genome.names, object)[sequence], "start": first, "end": first + tile_bp})
    return tiles.assign(
        strand="+", label=np.array([name for name, *_ in _KINDS], object)[counts[kept].argmax(1)]
    ), mixed


def _kinds_of_bases(genome: Genome, region: Intervals, lines: Sequence[AnnotationLine]) -> UInt8[np.ndarray, " N"]:
    """Return a number of ``_KINDS`` for each base; of the memory only the pages that the region lies on are used."""
    kinds = np.zeros(genome.total_bp, np.uint8)
    for kind, (_, pattern, strand) in enumerate(_KINDS):
        matches = re.compile(pattern).search
        spans = [_places(genome, line) for line in lines if matches(line.type) and strand in ("", line.strand)]
        for start, end in union(np.concatenate([np.empty((0, 2), np.int64), *spans])).tolist():
            at = np.searchsorted(region[:, 1], start, side="right")
            if at < len(region) and region[at, 0] < end:
                kinds[start:end] = kind
    return kinds


def _places(genome: Genome, line: AnnotationLine) -> Int64[np.ndarray, "_ 2"]:
    """Return where a line lies in concatenated coordinates; one over a circular sequence's origin has two parts."""
    sequence = genome.index[line.name]
    length, offset = int(genome.lengths[sequence]), int(genome.offsets[sequence])
    parts = [(line.start, min(line.end, length)), (max(line.start - length, 0), line.end - length)]
    return np.array([(offset + start, offset + end) for start, end in parts if start < end], np.int64).reshape(-1, 2)
