"""Small FASTA files for tests."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from dnar2mae.config import DataConfig
from dnar2mae.genome.store import Genome
from dnar2mae.genome.windows import TiledSource, WindowSource


class Location(NamedTuple):
    """Where windows lie: ``start`` is 0-based in their sequence, on the forward strand."""

    genome: np.ndarray
    sequence: np.ndarray
    start: np.ndarray
    reverse: np.ndarray


def locate(source: WindowSource | TiledSource, sample_ids: np.ndarray) -> Location:
    genome, start, reverse = source.places(sample_ids)
    sequence, offset = np.empty_like(start), np.empty_like(start)
    for i, rows in ((i, genome == i) for i in np.unique(genome)):
        sequence[rows] = source.genomes[i].sequence_of(start[rows])
        offset[rows] = source.genomes[i].offsets[sequence[rows]]
    return Location(genome, sequence, start - offset, reverse)


def write_fasta(path: Path, sequences: dict[str, str], width: int = 60, newline: str = "\n") -> Path:
    lines = []
    for name, sequence in sequences.items():
        lines.append(f">{name} made for a test")
        lines += [sequence[i : i + width] for i in range(0, len(sequence), width)]
    path.write_bytes((newline.join(lines) + newline).encode())
    return path


def random_bases(rng: np.random.Generator, length: int, letters: str = "ACGT") -> str:
    return "".join(rng.choice(list(letters), length))


def with_n(rng: np.random.Generator, length: int, num_runs: int = 5) -> str:
    bases = list(random_bases(rng, length))
    for start in rng.integers(0, length, num_runs):
        end = min(length, start + int(rng.integers(1, 40)))
        bases[start:end] = "N" * (end - start)
    return "".join(bases)


def genome_of(tmp_path: Path, *sequences: str, name: str = "genome.fa") -> Genome:
    named = {f"chr{i + 1}": sequence for i, sequence in enumerate(sequences)}
    return Genome.open(write_fasta(tmp_path / name, named))


def config(**settings) -> DataConfig:
    return DataConfig(genomes=("genome.fa",), **settings)
