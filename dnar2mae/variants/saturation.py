"""Every substitution of regions of a genome, in place of a file of variants (saturation mutagenesis)."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from dnar2mae.genome.alphabet import SOFT_MASK, UNKNOWN
from dnar2mae.genome.bed import read_bed
from dnar2mae.genome.store import Genome
from dnar2mae.variants.files import VCF_COLUMNS, Record, VcfWriter, vcf_writer

_AT_ONCE = 1 << 16  # bases read at once


class EverySubstitution:
    """All substitutions of known bases, a record a base, in the order of the genome; read and written as a VCF is.

    Parameters
    ----------
    genome
        The genome.
    bed
        BED file: only its regions, each base once.

    Raises
    ------
    SequenceError
        If the file cannot be read, or a region does not lie on its sequence.
    """

    def __init__(self, genome: Genome, bed: Path | None = None) -> None:
        self.genome, self.path = genome, bed or Path(genome.path)
        self.intervals = read_bed(bed, [genome])[0] if bed else genome.intervals
        lengths = zip(genome.names, genome.lengths.tolist(), strict=True)
        contigs = [f"##contig=<ID={name},length={length}>\n" for name, length in lengths]
        self.header = ["##fileformat=VCFv4.2\n", *contigs, f"{VCF_COLUMNS}\n"]

    def records(self) -> Iterator[Record]:
        """Yield a record for each known base."""
        for start, end in self.intervals.tolist():
            number = int(self.genome.sequence_of(np.array([start]))[0])
            name, offset = self.genome.names[number], int(self.genome.offsets[number])
            for first in range(start, end, _AT_ONCE):
                codes = self.genome.span(first, min(first + _AT_ONCE, end)) & np.uint8(SOFT_MASK - 1)
                for place in np.flatnonzero(codes < UNKNOWN).tolist():
                    ref, pos = "ACGT"[codes[place]], first + place - offset + 1
                    alts = tuple(base for base in "ACGT" if base != ref)
                    columns = [name, str(pos), ".", ref, ",".join(alts), ".", ".", "."]
                    yield Record(name, pos, ".", ref, alts, columns)

    def has_field(self, name: str) -> bool:
        """Tell that there is no field."""
        return False

    def label(self, record: Record, name: str, allele: int) -> str | None:
        """Return no value."""
        return None

    def writer(self, out: Path, names: Sequence[str], source: str) -> AbstractContextManager[VcfWriter]:
        """Open the output, as :meth:`dnar2mae.variants.files.VcfFile.writer`."""
        return vcf_writer(out, self.header, names, source)
