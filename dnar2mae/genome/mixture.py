"""The classes by which pretraining draws windows and reports held-out losses."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from dnar2mae.errors import SequenceError
from dnar2mae.genome.annotation import Annotation, read_annotation
from dnar2mae.genome.classes import region_classes
from dnar2mae.genome.codons import read_codons
from dnar2mae.genome.intervals import Intervals
from dnar2mae.genome.store import Genome

_NUM_READ = 200  # coding sequences, at least, that show whether an annotation fits
Classes = dict[str, tuple[Intervals, ...]]
"""By class, the bases of each genome that belong to it."""


def read_classes(paths: Sequence[str], genomes: Sequence[Genome]) -> Classes:
    """Read the annotation of each genome, and divide its bases by :func:`.region_classes`.

    Parameters
    ----------
    paths
        GFF3, GTF, BED, GenBank or EMBL files, in the order of the genomes.
    genomes
        The genomes.

    Raises
    ------
    SequenceError
        If a file cannot be read, or is that of another genome or assembly.
    """
    regions = []
    for path, genome in zip(paths, genomes, strict=True):
        annotation = read_annotation(Path(path), genome)
        _refuse_other_assembly(path, annotation, genome)
        regions.append(region_classes(annotation, genome))
    return {name: tuple(own[name] for own in regions) for name in regions[0]}


def _refuse_other_assembly(path: str, annotation: Annotation, genome: Genome) -> None:
    """Raise unless most coding sequences have a frame: shifted by an insertion they meet a stop codon soon."""
    coding = [transcript for transcript in annotation.transcripts if transcript.coding]
    read = [read_codons(transcript, genome) for transcript in coding[:: max(len(coding) // _NUM_READ, 1)]]
    framed = sum(codons is not None for codons in read)
    if 2 * framed < len(read):
        raise SequenceError(
            f"{path}: of {len(read)} coding sequences that were read {framed} have a reading frame in {genome.path}; "
            "is this the annotation of another assembly?"
        )


def classes_at(
    classes: Mapping[str, Sequence[Intervals]], genome: Int64[np.ndarray, " S"], position: Int64[np.ndarray, " S"]
) -> list[str]:
    """Return the class of bases in concatenated coordinates of their genomes, by number of the genome."""
    found = np.full(len(position), "", dtype=object)
    for name, by_genome in classes.items():
        for number, bases in enumerate(by_genome):
            at = np.searchsorted(bases[:, 1], position, side="right")
            inside = np.append(bases[:, 0], np.iinfo(np.int64).max)[at] <= position
            found[inside & (genome == number)] = name
    return found.tolist()
