"""Transcripts and genes from GFF3, GTF, BED and GenBank files, on a genome's coordinates."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from dnar2mae.errors import SequenceError, raising
from dnar2mae.genome.bed import bed_lines
from dnar2mae.genome.readers import BIOPYTHON_ERRORS, strictly
from dnar2mae.genome.store import Genome
from dnar2mae.storage.compressed import READ_ERRORS, open_maybe_gzip_text, without_compression
from dnar2mae.storage.remote import local_path

_GENIC = re.compile(r"(gene|RNA|transcript|CDS|exon|UTR|mobile_genetic_element|transposable_element)$")
_GTF_ATTRIBUTE = re.compile(r'(\w+) "([^"]*)"')
_STOPS, _STARTS = ("TAA", "TAG", "TGA"), ("ATG", "GTG", "TTG")
Span = tuple[int, int]
LEAST_INTRON_BP = 20
"""Shorter gaps between exons are frameshifts and annotation artefacts, no introns."""


class AnnotationLine(NamedTuple):
    """One annotated stretch; coordinates are 0-based half-open."""

    where: str
    """File and line."""
    name: str
    """Sequence, as the file calls it."""
    start: int
    end: int
    strand: str
    type: str
    id: str
    parents: tuple[str, ...]
    phase: int | None = None
    """Of a coding part: its bases, in reading order, before the first whole codon."""
    genetic_code: int | None = None
    """Number of NCBI's table, where the file names one."""
    label: str = ""
    """Name of what is annotated (GFF3's Name, BED's fourth column), which need not be unique."""


@dataclass(slots=True)
class Transcript:
    """A gene, or one of its transcripts."""

    name: str
    """Sequence, as the genome calls it."""
    strand: str
    """+ or -."""
    span: Span
    """From its first base to its last, 0-based half-open."""
    exons: tuple[Span, ...] = ()
    """In the order of coordinates; empty where they are not annotated."""
    coding: tuple[Span, ...] = ()
    """Coding parts in the order of coordinates; empty for what is not (known to be) coding."""
    phases: tuple[int | None, ...] = ()
    """Of each coding part: its bases, in reading order, before the first whole codon; None where the file is silent."""
    genetic_code: int | None = None
    """Number of NCBI's table, where the file names one."""

    def introns(self) -> list[Span]:
        """Return the gaps between exons (between coding parts where exons are not annotated)."""
        parts = self.exons or self.coding
        gaps = [(left[1], right[0]) for left, right in zip(parts, parts[1:], strict=False)]
        return [(start, end) for start, end in gaps if end - start >= LEAST_INTRON_BP]


@dataclass(frozen=True, slots=True)
class Annotation:
    """The transcripts and genic stretches of a genome, from which tasks are built."""

    transcripts: list[Transcript]
    genic: list[tuple[str, int, int]]
    """Sequence, start and end of everything that belongs to a gene or a mobile element."""
    unplaced: dict[str, int]
    """Lines by name of a sequence that the genome does not have, or beyond whose end they go (around an origin)."""


def read_annotation(path: Path, genome: Genome) -> Annotation:
    """Read an annotation; the format follows from the file's name, else from its first line.

    A sequence name that differs from the genome's by ``chr``, or by the name of the mitochondrion, is taken
    for it. BED intervals of fewer than 12 columns are coding if most of them run from a start to a stop codon in a
    multiple of three; else they are transcripts of which nothing more is known.

    Parameters
    ----------
    path
        GFF3, GTF, BED or GenBank file, plain or gzip.
    genome
        The genome that its names and coordinates refer to.

    Raises
    ------
    SequenceError
        The file cannot be read, has no transcript with a strand, no name of it is the genome's, or a line breaks
        its format or leaves its sequence; the message gives file and line.
    """
    path = local_path(path)
    unknown: dict[str, int] = {}
    placed = read_lines(path, genome, unknown)
    transcripts = _transcripts(placed)
    if _format(path) == "bed" and not any(t.exons for t in transcripts):
        _mark_coding(transcripts, genome)
    if not transcripts:
        raise SequenceError(f"{path}: no gene or transcript with a strand in this file")
    genic = [(line.name, line.start, line.end) for line in placed if _GENIC.search(line.type)]
    return Annotation(transcripts, genic, unknown)


def read_lines(path: Path, genome: Genome, unknown: dict[str, int]) -> list[AnnotationLine]:
    """Read the lines of an annotation that lie on a genome, under its names.

    Parameters
    ----------
    path, genome
        As for :func:`read_annotation`.
    unknown
        Receives the number of lines that were left out, as ``Annotation.unplaced`` has it.

    Raises
    ------
    SequenceError
        The file cannot be read, no name of it is the genome's, or a line breaks its format or leaves its sequence.
    """
    if not path.is_file():
        raise SequenceError(f"{path}: no such file; give a GFF3, GTF, BED or GenBank file")
    readers = {"gff3": _gff_lines, "gtf": _gff_lines, "bed": _bed_lines, "genbank": _genbank_lines}
    placed = list(_placed(readers[_format(path)](path), genome, unknown))
    if not placed:
        names = ", ".join(list(unknown)[:3]) or "none"
        raise SequenceError(f"{path}: no annotated sequence ({names}) is in {genome.path}, which has {genome.names[0]}")
    return placed


def _format(path: Path) -> str:
    name = without_compression(path.name).lower()
    suffixes = {".gff": "gff3", ".gff3": "gff3", ".gtf": "gtf", ".bed": "bed"}
    suffixes |= {".gb": "genbank", ".gbk": "genbank", ".gbff": "genbank"}
    for suffix, kind in suffixes.items():
        if name.endswith(suffix):
            return kind
    raise SequenceError(f"{path}: the name must end in {', '.join(suffixes)} (or that with .gz)")


def _text(path: Path) -> Iterator[tuple[str, str]]:
    """Yield lines with file and line number, without comments and blank lines, up to the sequences of a GFF3."""
    with raising(SequenceError, f"{path}: cannot be read; check the path and the file", *READ_ERRORS):
        with open_maybe_gzip_text(path, errors="replace", newline="\n") as file:
            for number, line in enumerate(file, 1):
                text = line.rstrip("\r\n")
                if text.startswith("##FASTA"):
                    return
                if text.strip() and not text.startswith(("#", "track", "browser")):
                    yield f"{path}:{number}", text


def _gff_lines(path: Path) -> Iterator[AnnotationLine]:
    """Yield lines of GFF3 or GTF, distinguished by the syntax of their attributes."""
    for where, text in _text(path):
        fields = text.split("\t")
        if len(fields) != 9 or not (fields[3].isdigit() and fields[4].isdigit()):
            raise SequenceError(f"{where}: a line has 9 tab-separated columns with start and end, got {text[:60]!r}")
        name, _, kind, start, end, _, strand, phase, attributes = fields
        if pairs := dict(_GTF_ATTRIBUTE.findall(attributes)):
            transcript, gene = pairs.get("transcript_id", ""), pairs.get("gene_id", "")
            own = {"gene": gene, "transcript": transcript}.get(kind, "")
            parents: tuple[str, ...] = (gene,) if kind == "transcript" else (transcript,) if kind != "gene" else ()
        else:
            pairs = dict(pair.strip().split("=", 1) for pair in attributes.split(";") if "=" in pair)
            own = pairs.get("ID", "")
            parents = tuple(pairs["Parent"].split(",")) if "Parent" in pairs else ()
        span, frame, table = (int(start) - 1, int(end)), _number(phase), _number(pairs.get("transl_table", ""))
        label = pairs.get("Name", "")
        yield AnnotationLine(where, name, *span, strand, kind, own, parents, frame, table, label)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _bed_lines(path: Path) -> Iterator[AnnotationLine]:
    for where, name, start, end, fields in bed_lines(path):
        strand = fields[5] if len(fields) > 5 else "."
        label = fields[3] if len(fields) > 3 else ""
        yield AnnotationLine(where, name, start, end, strand, "transcript", where, (), label=label)
        try:
            if len(fields) >= 12:  # BED12: exons as blocks, the coding part as thickStart and thickEnd
                sizes, starts = ([int(x) for x in fields[i].rstrip(",").split(",")] for i in (10, 11))
                thick = int(fields[6]), int(fields[7])
                for size, offset in zip(sizes, starts, strict=True):
                    block = start + offset, start + offset + size
                    yield AnnotationLine(where, name, *block, strand, "exon", "", (where,))
                    coding = max(block[0], thick[0]), min(block[1], thick[1])
                    if coding[0] < coding[1]:
                        yield AnnotationLine(where, name, *coding, strand, "CDS", "", (where,))
        except (IndexError, ValueError) as error:
            raise SequenceError(
                f"{where}: a BED line is name, start, end, ..., got {' '.join(fields)[:60]!r}"
            ) from error


def _genbank_lines(path: Path) -> Iterator[AnnotationLine]:
    """Yield each CDS or RNA as a transcript; it spans its gene where both have the same locus tag."""
    for record in _genbank_records(path):
        for number, feature in enumerate(record.features):
            if feature.location is None:
                raise SequenceError(f"{path}: {record.id}, feature {number + 1} ({feature.type}): unknown location")
            strand = {1: "+", -1: "-"}.get(feature.location.strand, ".")
            where = f"{path}: {record.id}, feature {number + 1}"
            whole = int(feature.location.start), int(feature.location.end)
            tag = "".join(feature.qualifiers.get("locus_tag", [""]))
            if feature.type == "gene":
                yield AnnotationLine(where, record.id, *whole, strand, "gene", f"gene {tag}" if tag else where, ())
            elif feature.type == "CDS" or feature.type.endswith("RNA"):
                own = f"{where} {feature.type}"
                parents = (f"gene {tag}",) if tag and feature.type == "CDS" else ()
                yield AnnotationLine(where, record.id, *whole, strand, feature.type + " transcript", own, parents)
                part = "CDS" if feature.type == "CDS" else "exon"
                table = _number("".join(feature.qualifiers.get("transl_table", [""])))
                phase = (_number("".join(feature.qualifiers.get("codon_start", [""]))) or 1) - 1
                # in reading order: the first part has the phase, and those of the others follow from it
                for i, location in enumerate(feature.location.parts):
                    span = int(location.start), int(location.end)
                    frame = None if i else phase
                    yield AnnotationLine(where, record.id, *span, strand, part, "", (own,), frame, table)


def _genbank_records(path: Path) -> Iterator[Any]:
    from Bio import BiopythonWarning, SeqIO

    damage = (*READ_ERRORS, BiopythonWarning, *BIOPYTHON_ERRORS)
    with raising(SequenceError, f"{path}: damaged GenBank file; get it again", *damage):
        with open_maybe_gzip_text(path, errors="replace") as file:
            # Biopython only warns of a truncated last record, which would lose features silently.
            yield from strictly(SeqIO.parse(file, "genbank"), "Premature end of file")


def _placed(lines: Iterable[AnnotationLine], genome: Genome, unknown: dict[str, int]) -> Iterator[AnnotationLine]:
    """Yield lines under the genome's names; count and leave out those of other sequences."""
    names: dict[str, str | None] = {}
    for line in lines:
        if line.name not in names:
            names[line.name] = genome.find(line.name)
        name = names[line.name]
        if name is None:
            unknown[line.name] = unknown.get(line.name, 0) + 1
            continue
        length = int(genome.lengths[genome.index[name]])
        # Annotations of circular chromosomes count on beyond the end; such a feature has no single interval here.
        if line.start < length < line.end <= 2 * length:
            unknown[f"{name}, around its origin"] = unknown.get(f"{name}, around its origin", 0) + 1
            continue
        if not 0 <= line.start < line.end <= length:
            span = f"{line.start}-{line.end} (0-based) of {length} bp"
            raise SequenceError(f"{line.where}: outside sequence {name}: {span}; is this its assembly?")
        yield line._replace(name=name)


def _transcripts(lines: Sequence[AnnotationLine]) -> list[Transcript]:
    """Return every parent of exons or coding parts as a transcript; single intervals where there is none."""
    by_id = {line.id: line for line in lines if line.id}
    parts: dict[str, dict[str, dict[Span, AnnotationLine]]] = {}
    for line in lines:
        if line.type not in ("exon", "CDS") or line.strand not in ("+", "-"):
            continue
        for parent in line.parents or ((line.id,) if line.id else ()):
            parts.setdefault(parent, {"exon": {}, "CDS": {}})[line.type][line.start, line.end] = line
    transcripts = []
    for parent, pieces in parts.items():
        exons, coding = (tuple(sorted(pieces[kind])) for kind in ("exon", "CDS"))
        hull = exons + coding
        span = min(start for start, _ in hull), max(end for _, end in hull)
        owner = by_id.get(parent)
        if owner is not None and not exons:  # coding parts alone leave out the untranslated ends
            gene = by_id.get(owner.parents[0], owner) if owner.parents else owner
            span = min(span[0], gene.start), max(span[1], gene.end)
        of_coding = [pieces["CDS"][part] for part in coding]
        first = of_coding[0] if coding else pieces["exon"][exons[0]]
        phases = tuple(line.phase for line in of_coding)
        transcripts.append(Transcript(first.name, first.strand, span, exons, coding, phases, first.genetic_code))
    if transcripts:
        return transcripts
    singles = [line for line in lines if _GENIC.search(line.type) and line.strand in ("+", "-")]
    return [Transcript(line.name, line.strand, (line.start, line.end)) for line in singles]


def _mark_coding(transcripts: list[Transcript], genome: Genome) -> None:
    """Call intervals coding if most of them read as an open reading frame."""
    frames = []
    for transcript in transcripts:
        start, end = transcript.span
        if (end - start) % 3 == 0 and end - start >= 6:  # a start and a stop codon at least
            letters = genome.fetch(transcript.name, start, end, transcript.strand).upper()
            if letters[:3] in _STARTS and letters[-3:] in _STOPS:
                frames.append(transcript)
    if 2 * len(frames) > len(transcripts):
        for transcript in frames:
            transcript.coding = (transcript.span,)
