"""One annotated stretch of a sequence, as every format has it, and those of BED files."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dnar2mae.errors import SequenceError
from dnar2mae.genome.bed import bed_lines


class AnnotationLine(NamedTuple):
    """One annotated stretch; coordinates are 0-based half-open.

    On a circular sequence they count on beyond its end for what goes over the origin, as those of GFF3 do.
    """

    where: str
    """File and line."""
    name: str
    """Sequence, as the file calls it."""
    start: int
    end: int
    strand: str
    type: str
    id: str
    """Empty where there is none; several lines of one ID are parts of one feature."""
    parents: tuple[str, ...]
    phase: int | None = None
    """Of a coding part: its bases, in reading order, before the first whole codon."""
    genetic_code: int | None = None
    """Number of NCBI's table, where the file names one."""
    label: str = ""
    """Name of what is annotated (GFF3's Name, BED's fourth column), which need not be unique."""
    is_circular: bool = False
    """The file says that the sequence is circular."""


def whole_number(text: str) -> int | None:
    """Return the number that up to 18 decimal digits write; None of any other text."""
    return int(text) if text.isdecimal() and len(text) <= 18 else None


def bed_annotation(path: Path) -> Iterator[AnnotationLine]:
    """Read each line of a BED file as a transcript; those of 12 columns also have exons and coding parts.

    Raises
    ------
    SequenceError
        The file cannot be read, or a line breaks its format.
    """
    for line in bed_lines(path):
        fields, name = line.fields, line.name
        strand = fields[5] if len(fields) > 5 else "."
        label = fields[3] if len(fields) > 3 else ""
        yield AnnotationLine(line.where, name, line.start, line.end, strand, "transcript", line.where, (), label=label)
        try:
            if len(fields) >= 12:  # exons as blocks, the coding part as thickStart and thickEnd
                sizes, starts = ([int(x) for x in fields[i].rstrip(",").split(",")] for i in (10, 11))
                thick = int(fields[6]), int(fields[7])
                for size, offset in zip(sizes, starts, strict=True):
                    block = line.start + offset, line.start + offset + size
                    yield AnnotationLine(line.where, name, *block, strand, "exon", "", (line.where,))
                    coding = max(block[0], thick[0]), min(block[1], thick[1])
                    if coding[0] < coding[1]:
                        yield AnnotationLine(line.where, name, *coding, strand, "CDS", "", (line.where,))
        except (IndexError, ValueError) as error:
            raise SequenceError(
                f"{line.where}: a BED line is name, start, end, ..., got {' '.join(fields)[:60]!r}"
            ) from error
