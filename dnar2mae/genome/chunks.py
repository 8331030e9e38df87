"""Stretches of known bases, evenly spaced over genomes, as text for a tokenizer to learn from."""

from collections.abc import Iterator, Sequence

import numpy as np

from dnar2mae.genome.alphabet import SOFT_MASK, UNKNOWN, complement, decode
from dnar2mae.genome.intervals import intersection, intervals_of
from dnar2mae.genome.store import Genome
from dnar2mae.storage.progress import progress_bar

_CHUNK_BP = 512


def spaced_chunks(paths: Sequence[str], *, max_letters: int, both_strands: bool) -> Iterator[str]:
    """Read chunks of 512 known bases, upper case, each followed by its reverse complement if ``both_strands``.

    Parameters
    ----------
    paths
        FASTA or GenBank files.
    max_letters
        About this many are read; of a longer input every n-th chunk.
    both_strands
        Read the reverse complement, too.

    Raises
    ------
    SequenceError
        If a file cannot be read.
    """
    genomes = [Genome.open(path) for path in paths]
    total = sum(genome.total_bp for genome in genomes)
    step = max(-(-total * (1 + both_strands) // max_letters), 1)
    with progress_bar("Reading DNA", total) as update:
        done = number = 0
        for genome in genomes:
            # known bases lie from the end of each run of N to the start of the next
            gaps = np.append(0, genome.n_runs.flatten())
            known = intervals_of(gaps[::2], np.append(gaps[1::2], genome.total_bp))
            for first, end in intersection(known[known[:, 1] > known[:, 0]], genome.intervals).tolist():
                for start in range(first, end, _CHUNK_BP):
                    number += 1
                    if (number - 1) % step:
                        continue
                    codes = genome.span(start, min(start + _CHUNK_BP, end)) & np.uint8(SOFT_MASK - 1)
                    assert (codes < UNKNOWN).all(), "runs of N are complete"
                    yield decode(codes)
                    if both_strands:
                        yield decode(complement(codes[::-1]))
                    update(done + start)
            done += genome.total_bp
