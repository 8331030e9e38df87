"""Transcripts and genes from GFF3, GTF, BED, GenBank and EMBL files, on a genome's coordinates."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from dnar2mae.errors import SequenceError
from dnar2mae.genome.annotation_lines import AnnotationLine, bed_annotation
from dnar2mae.genome.feature_tables import TABLE_NAMES, feature_lines, read_table_format
from dnar2mae.genome.gff import gff_lines, read_dialect
from dnar2mae.genome.store import Genome
from dnar2mae.storage.compressed import without_compression
from dnar2mae.storage.remote import local_path

_GENIC = re.compile(r"(gene|RNA|transcript|CDS|exon|UTR|mobile_genetic_element|transposable_element)$")
_STOPS, _STARTS = ("TAA", "TAG", "TGA"), ("ATG", "GTG", "TTG")
_SUFFIXES = {
    **dict.fromkeys((".gff", ".gff3", ".gtf"), "gff"),
    ".bed": "bed",
    **dict.fromkeys((".gb", ".gbk", ".gbff", ".embl"), "table"),
}
Span = tuple[int, int]
LEAST_INTRON_BP = 20
"""Shorter gaps between exons are frameshifts and annotation artefacts, no introns."""


@dataclass(slots=True)
class Transcript:
    """A gene, or one of its transcripts.

    Intervals are 0-based half-open and in the order of coordinates. Those of a transcript over the origin of a circular
    sequence begin with the part at the sequence's end, and none goes over the origin itself.
    """

    name: str
    """Sequence, as the genome calls it."""
    strand: str
    """+ or -."""
    spans: tuple[Span, ...]
    """From its first base to its last: one interval, or two over an origin."""
    exons: tuple[Span, ...] = ()
    """Empty where they are not annotated."""
    coding: tuple[Span, ...] = ()
    """Coding parts; empty for what is not (known to be) coding."""
    phases: tuple[int | None, ...] = ()
    """Of each coding part: its bases, in reading order, before the first whole codon; None where the file is silent."""
    genetic_code: int | None = None
    """Number of NCBI's table, where the file names one."""

    def introns(self) -> list[Span]:
        """Return the gaps between exons (between coding parts where exons are not annotated), none over an origin."""
        parts = self.exons or self.coding
        gaps = [(left[1], right[0]) for left, right in zip(parts, parts[1:], strict=False)]
        return [(start, end) for start, end in gaps if end - start >= LEAST_INTRON_BP]


@dataclass(frozen=True, slots=True)
class PlacedLines:
    """The lines of an annotation that lie on a genome."""

    format: str
    """GFF3, GTF, BED, GenBank or EMBL, which decided how they were read."""
    lines: list[AnnotationLine]
    """Under the genome's names."""
    unplaced: dict[str, int]
    """Lines by name of a sequence that the genome does not have, or beyond whose end they go."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """The transcripts and genic stretches of a genome, from which tasks are built."""

    format: str
    """As of ``PlacedLines``."""
    transcripts: list[Transcript]
    genic: list[tuple[str, int, int]]
    """Sequence, start and end of everything that belongs to a gene or a mobile element."""
    unplaced: dict[str, int]
    """As of ``PlacedLines``."""

    def summary(self) -> str:
        """Return the format and the numbers of transcripts, in words."""
        coding = sum(bool(transcript.coding) for transcript in self.transcripts)
        return f"read as {self.format}: {len(self.transcripts):,} transcripts, {coding:,} of them coding"


def read_annotation(path: Path, genome: Genome) -> Annotation:
    """Read an annotation; the format follows from the file's name, and what names leave open from its content.

    A sequence name that differs from the genome's by ``chr``, or by the name of the mitochondrion, is taken
    for it. BED intervals of fewer than 12 columns are coding if most of them run from a start to a stop codon in a
    multiple of three; else they are transcripts of which nothing more is known.

    Parameters
    ----------
    path
        GFF3, GTF, BED, GenBank or EMBL file, plain or gzip.
    genome
        The genome that its names and coordinates refer to.

    Raises
    ------
    SequenceError
        The file cannot be read, has no transcript with a strand, no name of it is the genome's, or a line breaks
        its format or leaves its sequence; the message gives file and line.

    Warns
    -----
    UserWarning
        Features without a location, or BED lines of length 0, are left out.
    """
    placed = read_lines(path, genome)
    transcripts = _transcripts(placed.lines, genome)
    if placed.format == "BED" and not any(t.exons for t in transcripts):
        _mark_coding(transcripts, genome)
    if not transcripts:
        raise SequenceError(f"{path}: no gene or transcript with a strand in this file")
    genic = [
        (line.name, *span)
        for line in placed.lines
        if _GENIC.search(line.type)
        for span in around((line.start, line.end), _length(genome, line.name))
    ]
    return Annotation(placed.format, transcripts, genic, placed.unplaced)


def read_lines(path: Path, genome: Genome) -> PlacedLines:
    """Read the lines of an annotation that lie on a genome; parameters and errors are as of :func:`read_annotation`."""
    path = local_path(path)
    if not path.is_file():
        raise SequenceError(f"{path}: no such file; give a GFF3, GTF, BED, GenBank or EMBL file")
    own_name = without_compression(path.name).lower()
    kind = next((kind for suffix, kind in _SUFFIXES.items() if own_name.endswith(suffix)), "")
    name: str
    lines: Iterator[AnnotationLine]
    if kind == "gff":
        dialect = read_dialect(path)
        name, lines = dialect, gff_lines(path, dialect)
    elif kind == "bed":
        name, lines = "BED", bed_annotation(path)
    elif kind == "table":
        table = read_table_format(path)
        name, lines = TABLE_NAMES[table], feature_lines(path, table)
    else:
        raise SequenceError(f"{path}: the name must end in {', '.join(_SUFFIXES)} (or that with .gz or .zst)")
    placed, unplaced = _place(lines, genome)
    if not placed:
        names = ", ".join(list(unplaced)[:3]) or "none"
        raise SequenceError(f"{path}: no annotated sequence ({names}) is in {genome.path}, which has {genome.names[0]}")
    return PlacedLines(name, placed, unplaced)


def _place(lines: Iterable[AnnotationLine], genome: Genome) -> tuple[list[AnnotationLine], dict[str, int]]:
    """Return lines under the genome's names, and the numbers of those that have no place."""
    lines = list(lines)
    circular = {line.name for line in lines if line.is_circular}
    names = {name: genome.find(name) for name in dict.fromkeys(line.name for line in lines)}
    placed, unplaced = [], dict[str, int]()
    for line in lines:
        name = names[line.name]
        if name is None:
            unplaced[line.name] = unplaced.get(line.name, 0) + 1
            continue
        length = _length(genome, name)
        most = 2 * length if line.name in circular else length
        # A program may count on beyond the origin without saying that the sequence is circular.
        if line.start < length <= most < line.end <= 2 * length:
            unplaced[f"{name}, beyond its end"] = unplaced.get(f"{name}, beyond its end", 0) + 1
            continue
        if not 0 <= line.start < line.end <= most:
            span = f"{line.start}-{line.end} (0-based) of {length} bp"
            raise SequenceError(f"{line.where}: outside sequence {name}: {span}; is this its assembly?")
        placed.append(line._replace(name=name))
    return _over_origin(placed, {name for own in circular if (name := names[own])}, genome), unplaced


def _over_origin(lines: list[AnnotationLine], circular: set[str], genome: Genome) -> list[AnnotationLine]:
    """Count on beyond the end of a circular sequence for features in several lines that go over its origin.

    These are the ones with a line that ends at the sequence's end and one that starts at its beginning. The widest gap
    between their lines is where they begin and end.
    """
    features: dict[tuple[object, ...], list[int]] = {}
    for number, line in enumerate(lines):
        if line.name in circular and (of := line.parents if line.type in ("exon", "CDS") and line.parents else line.id):
            features.setdefault((line.name, line.strand, line.type, of), []).append(number)
    for (name, *_), numbers in features.items():
        length = _length(genome, str(name))
        parts = sorted((lines[number].start, lines[number].end, number) for number in numbers)
        if len(parts) < 2 or parts[0][0] != 0 or parts[-1][1] != length:
            continue
        gaps = [after[0] - before[1] for before, after in pairwise(parts)]
        for _, _, number in parts[: gaps.index(max(gaps)) + 1]:
            line = lines[number]
            lines[number] = line._replace(start=line.start + length, end=line.end + length)
    return lines


def _length(genome: Genome, name: str) -> int:
    return int(genome.lengths[genome.index[name]])


def around(span: Span, length: int) -> tuple[Span, ...]:
    """Return what a span covers of a circular sequence, in its order: two intervals where it goes over the origin."""
    start, end = span
    if start >= length:
        return ((start - length, end - length),)
    return (span,) if end <= length else ((start, length), (0, end - length))


def _transcripts(lines: Sequence[AnnotationLine], genome: Genome) -> list[Transcript]:
    """Return every parent of exons or coding parts as a transcript; single intervals where there is none."""
    # an ID may come again on another sequence or strand, where it is another feature
    owners: dict[tuple[str, str, str], list[AnnotationLine]] = {}
    parts: dict[tuple[str, str, str], dict[str, dict[Span, AnnotationLine]]] = {}
    for line in lines:
        if line.id:
            owners.setdefault((line.name, line.strand, line.id), []).append(line)
        if line.type in ("exon", "CDS") and line.strand in ("+", "-"):
            for parent in line.parents or ((line.id,) if line.id else ()):
                pieces = parts.setdefault((line.name, line.strand, parent), {"exon": {}, "CDS": {}})
                pieces[line.type][line.start, line.end] = line
    transcripts = []
    for (name, strand, parent), pieces in parts.items():
        hull = [*pieces["exon"], *pieces["CDS"]]
        start, end = min(start for start, _ in hull), max(end for _, end in hull)
        if not pieces["exon"]:  # coding parts alone leave out the untranslated ends
            above = owners.get((name, strand, parent), [])
            genes = [gene for line in above for up in line.parents[:1] for gene in owners.get((name, strand, up), [])]
            overlapping = [line for line in genes or above if line.start < end and start < line.end]
            start = min([start, *(line.start for line in overlapping)])
            end = max([end, *(line.end for line in overlapping)])
        transcripts.append(_transcript(name, strand, (start, end), pieces, _length(genome, name)))
    if transcripts:
        return transcripts
    singles = [line for line in lines if _GENIC.search(line.type) and line.strand in ("+", "-")]
    spans = [around((line.start, line.end), _length(genome, line.name)) for line in singles]
    return [Transcript(line.name, line.strand, own) for line, own in zip(singles, spans, strict=True)]


def _transcript(
    name: str, strand: str, hull: Span, pieces: dict[str, dict[Span, AnnotationLine]], length: int
) -> Transcript:
    exons = tuple(part for span in sorted(pieces["exon"]) for part in around(span, length))
    coding: list[Span] = []
    phases: list[int | None] = []
    for span, line in sorted(pieces["CDS"].items()):
        own = around(span, length)
        frames = [line.phase, *[None] * (len(own) - 1)]  # the phase is that of the part that is read first
        coding += own
        phases += frames if strand == "+" else frames[::-1]
    table = next((line.genetic_code for _, line in sorted(pieces["CDS"].items())), None)
    return Transcript(name, strand, around(hull, length), exons, tuple(coding), tuple(phases), table)


def _mark_coding(transcripts: list[Transcript], genome: Genome) -> None:
    """Call intervals coding if most of them read as an open reading frame."""
    frames = []
    for transcript in transcripts:
        start, end = transcript.spans[0]
        if (end - start) % 3 == 0 and end - start >= 6:  # a start and a stop codon at least
            letters = genome.fetch(transcript.name, start, end, transcript.strand).upper()
            if letters[:3] in _STARTS and letters[-3:] in _STOPS:
                frames.append(transcript)
    if 2 * len(frames) > len(transcripts):
        for transcript in frames:
            transcript.coding = transcript.spans
