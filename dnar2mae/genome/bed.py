"""Regions from BED files, and sequences by name, in one or several genomes."""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dnar2mae.errors import SequenceError
from dnar2mae.genome.intervals import Intervals, intersection, union
from dnar2mae.genome.store import Genome


def read_bed(path: str | Path, genomes: Sequence[Genome]) -> tuple[Intervals, ...]:
    """Read a BED file (three or more columns; plain or gzip) onto genomes.

    Comments, ``track`` and ``browser`` lines and blank lines are skipped; columns after the third are not
    used. A name that differs from a sequence's only by the prefix ``chr`` is taken for it.

    Parameters
    ----------
    path
        BED file: name, start, end; 0-based half-open.
    genomes
        Where the names are looked up. A name found in several of them must be written ``genome:name``.

    Returns
    -------
    tuple of int64 [K, 2]
        Per genome the merged regions in concatenated coordinates, each inside one sequence.

    Raises
    ------
    SequenceError
        The file cannot be read or holds no region; a line has fewer than three columns, other than
        integers, an empty region, one outside its sequence, or an unknown or ambiguous name. The message
        gives file and line.
    """
    regions: list[list[tuple[int, int]]] = [[] for _ in genomes]
    found: dict[str, tuple[int, int]] = {}
    for number, line in enumerate(_lines(Path(path)), 1):
        fields = line.split()
        if not fields or fields[0].startswith("#") or fields[0] in ("track", "browser"):
            continue
        try:
            name, start, end = fields[0], int(fields[1]), int(fields[2])
            where = found.get(name) or found.setdefault(name, _find(name, genomes))
        except (IndexError, ValueError) as error:
            rule = error if isinstance(error, SequenceError) else "a BED line is name, start, end"
            raise SequenceError(f"{path}:{number}: {rule}, got {line.strip()[:80]!r}") from error
        genome, sequence = genomes[where[0]], where[1]
        if not 0 <= start < end <= genome.lengths[sequence]:
            raise SequenceError(
                f"{path}:{number}: a region needs 0 <= start < end <= {genome.lengths[sequence]} "
                f"(length of {genome.names[sequence]}), got {start}-{end}"
            )
        offset = int(genome.offsets[sequence])
        regions[where[0]].append((start + offset, end + offset))
    if not any(regions):
        raise SequenceError(f"{path}: no region in this BED file")
    return tuple(
        intersection(union(np.array(pairs, np.int64).reshape(-1, 2)), genome.intervals)
        for pairs, genome in zip(regions, genomes, strict=True)
    )


def find_sequences(name: str, genomes: Sequence[Genome]) -> list[tuple[int, int]]:
    """Find a sequence by ``name`` in every genome, or by ``genome:name`` in the one of that file stem.

    Returns
    -------
    list of (int, int)
        Genome and sequence index of each match.
    """
    stem, _, rest = name.partition(":")
    whole = [(i, genome.index[name]) for i, genome in enumerate(genomes) if name in genome.index]
    return whole or [
        (i, genome.index[rest]) for i, genome in enumerate(genomes) if genome.stem == stem and rest in genome.index
    ]


def _find(name: str, genomes: Sequence[Genome]) -> tuple[int, int]:
    stem, colon, rest = name.rpartition(":")
    other = rest.removeprefix("chr") if rest.startswith("chr") else f"chr{rest}"
    matches = find_sequences(name, genomes) or find_sequences(f"{stem}{colon}{other}", genomes)
    if not matches:
        raise SequenceError("; ".join(genome.unknown(name) for genome in genomes))
    if len(matches) > 1:
        stems = ", ".join(genomes[i].stem for i, _ in matches)
        raise SequenceError(f"{name} is a sequence of several genomes ({stems}); write {genomes[0].stem}:{name}")
    return matches[0]


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as raw:
            is_gzip = raw.peek(2)[:2] == b"\x1f\x8b"
            with gzip.open(raw) if is_gzip else raw as stream:
                for line in stream:
                    yield line.decode("utf-8", "replace")
    except (OSError, EOFError, zlib.error) as error:
        raise SequenceError(f"{path}: cannot be read as BED ({error}); check the path and the file") from error
