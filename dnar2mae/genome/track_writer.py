"""Writing a value for each base of a genome as bigWig or bedGraph."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.genome.bigwig import write_bigwig
from dnar2mae.genome.store import Genome
from dnar2mae.storage.safe_files import output_file

TRACK_SUFFIXES = (".bw", ".bigwig", ".bedgraph")
"""What the name of a track to write may end in."""
Chunk = tuple[str, int, Float32[np.ndarray, " _"]]


def write_track(path: str | Path, genome: Genome, chunks: Iterable[Chunk]) -> None:
    """Write the values of bases; those that are not finite are left out, and equal neighbours share a line.

    Parameters
    ----------
    path
        Ends in ``.bw`` or ``.bigwig`` (needs the package pybigtools), or ``.bedgraph``.
    genome
        The genome.
    chunks
        Name of a sequence, where its part starts (0-based), and the values from there on: disjoint parts, in the order
        of the genome. They are written as they come.

    Raises
    ------
    ConfigError
        The suffix is none of these, the file cannot be written, or the package is missing.
    SequenceError
        Chunks are not in the genome's order, overlap or leave their sequence, or no value is finite.
    """
    path = Path(path)
    if path.suffix.lower() not in TRACK_SUFFIXES:
        raise ConfigError(f"--out of a track must end in {', '.join(TRACK_SUFFIXES)}, got {path}")
    runs = _some(path, _runs(path, genome, chunks))
    with output_file(path) as partial:
        if path.suffix.lower() == ".bedgraph":
            with partial.open("w") as file:
                # a float32 in as few digits as tell it from all others
                file.writelines(f"{name}\t{start}\t{end}\t{np.float32(value)!s}\n" for name, start, end, value in runs)
        else:
            lengths = dict(zip(genome.names, genome.lengths.tolist(), strict=True))
            write_bigwig(partial, {name: length for name, length in lengths.items() if length}, runs)


def _runs(path: Path, genome: Genome, chunks: Iterable[Chunk]) -> Iterator[tuple[str, int, int, float]]:
    """Yield stretches of equal values."""
    done = 0
    for name, start, values in chunks:
        first, last = genome.concatenated(name, start, start + len(values))
        if first < done:
            raise SequenceError(f"{path}: values must come in the genome's order, got {name}:{start} after later ones")
        done = last
        if not len(values):
            continue
        changes = np.flatnonzero(values[1:] != values[:-1]) + 1
        edges = np.concatenate([[0], changes, [len(values)]]) + start
        of_runs = values[edges[:-1] - start]
        known = np.isfinite(of_runs)
        rows = zip(edges[:-1][known].tolist(), edges[1:][known].tolist(), of_runs[known].tolist(), strict=True)
        yield from ((name, *row) for row in rows)


def _some(path: Path, runs: Iterator[tuple[str, int, int, float]]) -> Iterator[tuple[str, int, int, float]]:
    """Yield stretches, of which there must be one."""
    is_empty = True
    for run in runs:
        is_empty = False
        yield run
    if is_empty:
        raise SequenceError(f"{path}: no base has a value; there is nothing to write")
