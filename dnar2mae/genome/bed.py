"""Regions from BED files, and sequences by name, in one or several genomes."""

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dnar2mae.errors import SequenceError, raising
from dnar2mae.genome.intervals import Intervals, intersection, union
from dnar2mae.genome.names import some
from dnar2mae.genome.store import Genome
from dnar2mae.storage.compressed import READ_ERRORS, open_maybe_gzip_text
from dnar2mae.storage.remote import local_path

_WHOLE = re.compile(r" *-?[0-9]{1,18} *")


class BedLine(NamedTuple):
    """A line of a BED file; 0-based half-open, not yet known to lie in a sequence."""

    where: str
    """File and line number."""
    name: str
    start: int
    end: int
    fields: list[str]
    """All columns."""


class Region(NamedTuple):
    """A line of a BED file that lies in a sequence."""

    genome: int
    """Index of the genome."""
    sequence: int
    """Index of the sequence in it."""
    start: int
    """0-based."""
    end: int
    fields: list[str]
    """All columns of the line."""
    where: str
    """File and line number."""


def bed_lines(path: Path) -> Iterator[BedLine]:
    """Read the lines of a BED file (three or more columns; plain or gzip).

    Comments, ``track`` and ``browser`` lines and blank lines are skipped. Columns are separated by tabs, or by white
    space in lines with fewer than two tabs.

    Raises
    ------
    SequenceError
        The file cannot be read, or a line has fewer than three columns or other than integers.

    Warns
    -----
    UserWarning
        Lines have length 0, as insertion points have; they are skipped.
    """
    empty = 0
    with raising(SequenceError, f"{path}: cannot be read as BED; check the path and the file", *READ_ERRORS):
        with open_maybe_gzip_text(local_path(path), errors="replace", newline="\n") as file:
            for number, line in enumerate(file, 1):
                fields = line.strip().split("\t")
                fields = fields if len(fields) > 2 else line.split()
                if not fields or fields[0].startswith("#") or fields[0].split()[0] in ("track", "browser"):
                    continue
                # int() alone would read 1_000, too, and fail at thousands of digits
                if len(fields) < 3 or not all(map(_WHOLE.fullmatch, fields[1:3])):
                    raise SequenceError(f"{path}:{number}: a BED line is name, start, end, got {line.strip()[:80]!r}")
                start, end = int(fields[1]), int(fields[2])
                if start == end:
                    empty += 1
                else:
                    yield BedLine(f"{path}:{number}", fields[0].strip(), start, end, fields)
    if empty:
        warnings.warn(f"{path}: {empty} of the regions hold no base (start = end); skipped", stacklevel=2)


def read_regions(path: Path, genomes: Sequence[Genome], *, unknown: Counter[str] | None = None) -> Iterator[Region]:
    """Read the regions of a BED file in its order; see :func:`read_bed` for names and errors.

    Those of a sequence that no genome has are an error, or are left out and counted in ``unknown``.
    """
    matches: dict[str, tuple[int, int] | None] = {}
    for where, name, start, end, fields in bed_lines(path):
        if name not in matches:
            with raising(SequenceError, where, SequenceError):
                matches[name] = _find(name, genomes)
        match = matches[name]
        if match is None:
            if unknown is None:
                raise SequenceError(f"{where}: {'; '.join(genome.unknown(name) for genome in genomes)}")
            unknown[name] += 1
            continue
        genome, sequence = match
        length = genomes[genome].lengths[sequence]
        if not 0 <= start < end <= length:
            raise SequenceError(
                f"{where}: a region needs 0 <= start < end <= {length} "
                f"(length of {genomes[genome].names[sequence]}), got {start}-{end}"
            )
        yield Region(genome, sequence, start, end, fields, where)
    if not matches:
        raise SequenceError(f"{path}: no region in this BED file")


def read_bed(path: str | Path, genomes: Sequence[Genome]) -> tuple[Intervals, ...]:
    """Read a BED file onto genomes.

    Columns after the third are not used. A sequence that the file calls by another usual name (``1`` for ``chr1``,
    ``MT`` for ``chrM``) is known; see :meth:`dnar2mae.genome.store.Genome.find`.

    Parameters
    ----------
    path
        BED file: name, start, end; 0-based half-open.
    genomes
        Where the names are looked up. A name that several of them have must be written ``genome:name``.

    Returns
    -------
    tuple of int64 [K, 2]
        Per genome the merged regions in concatenated coordinates, each inside one sequence.

    Raises
    ------
    SequenceError
        The file cannot be read or holds no region; a line has fewer than three columns, other than
        integers, a region outside its sequence, or an ambiguous name. The message names file and line.

    Warns
    -----
    UserWarning
        Regions lie on sequences that no genome has (as those of a whole assembly do, where a genome is a part of it),
        or have length 0.
    """
    regions: list[list[tuple[int, int]]] = [[] for _ in genomes]
    unknown = Counter[str]()
    for region in read_regions(Path(path), genomes, unknown=unknown):
        offset = int(genomes[region.genome].offsets[region.sequence])
        regions[region.genome].append((region.start + offset, region.end + offset))
    if unknown:
        total = unknown.total() + sum(map(len, regions))
        warnings.warn(
            f"{path}: {unknown.total()} of {total} regions are left out: no genome has {some(unknown)}", stacklevel=1
        )
    # the union also joins regions that touch at the border of two sequences: the intersection parts them again
    return tuple(
        intersection(union(np.array(pairs, np.int64).reshape(-1, 2)), genome.intervals)
        for pairs, genome in zip(regions, genomes, strict=True)
    )


def find_sequences(name: str, genomes: Sequence[Genome]) -> list[tuple[int, int]]:
    """Find a sequence by ``name`` in every genome, or by ``genome:name`` in the one of that file stem.

    Other usual names of the sequence count where no genome has this one.

    Returns
    -------
    list of (int, int)
        Genome and sequence index of each match.
    """
    whole = [(i, genome.index[name]) for i, genome in enumerate(genomes) if name in genome.index]
    whole = whole or [(i, genome.index[own]) for i, genome in enumerate(genomes) if (own := genome.find(name))]
    stem, _, rest = name.partition(":")
    return whole or [
        (i, genome.index[own]) for i, genome in enumerate(genomes) if genome.stem == stem and (own := genome.find(rest))
    ]


def _find(name: str, genomes: Sequence[Genome]) -> tuple[int, int] | None:
    matches = find_sequences(name, genomes)
    if len(matches) > 1:
        stems = ", ".join(genomes[i].stem for i, _ in matches)
        raise SequenceError(f"{name} is a sequence of several genomes ({stems}); write {genomes[0].stem}:{name}")
    return matches[0] if matches else None
