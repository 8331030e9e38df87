"""Features of GenBank and EMBL files, whose locations Biopython reads."""

import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dnar2mae.errors import SequenceError, raising
from dnar2mae.genome.annotation_lines import AnnotationLine, whole_number
from dnar2mae.genome.readers import BIOPYTHON_ERRORS, SequenceFile, strictly
from dnar2mae.storage.compressed import READ_ERRORS, open_maybe_gzip_text

TABLE_NAMES = {"genbank": "GenBank", "embl": "EMBL"}
"""Names of the formats with a feature table."""


class _Place(NamedTuple):
    """Where a feature lies on its own record."""

    spans: list[tuple[int, int]]
    """In the order of coordinates, which count on beyond the end of the sequence for what goes over its origin."""
    is_whole: bool
    """All of the feature is in the spans, and they follow one another on one strand: not so where it has parts on
    other sequences or is spliced in trans."""
    is_circular: bool
    """The record says that its sequence is circular, or this feature ends and goes on at its origin."""


def read_table_format(path: Path) -> str:
    """Return whether a file is ``genbank`` or ``embl``, by its first line.

    Raises
    ------
    SequenceError
        It is neither, or cannot be read.
    """
    with SequenceFile(path) as file:
        if file.format not in TABLE_NAMES:
            raise SequenceError(f"{path}: GenBank starts with LOCUS and EMBL with ID, but this file is {file.format}")
        return file.format


def feature_lines(path: Path, kind: str) -> Iterator[AnnotationLine]:
    """Read each CDS or RNA as a transcript; it spans its gene where both have the same locus tag.

    Of a feature that is not whole here (see :class:`_Place`), what lies here is genic and no more.

    Raises
    ------
    SequenceError
        The file is damaged.

    Warns
    -----
    UserWarning
        Genes, CDS or RNAs have an unknown location, or none on their own record; they are left out.
    """
    left_out: Counter[str] = Counter()
    for record in _records(path, kind):
        is_circular = record.annotations.get("topology") == "circular"
        for number, feature in enumerate(record.features, 1):
            if feature.type not in ("gene", "CDS") and not feature.type.endswith("RNA"):
                continue
            place = _place(feature, len(record), is_circular)
            if isinstance(place, str):
                left_out[place] += 1
                continue
            where = f"{path}: {record.id}, feature {number} ({feature.type})"
            for line in _lines(feature, place, where, record.id):
                yield line._replace(is_circular=place.is_circular)
    if left_out:
        counts = ", ".join(f"{count} {why}" for why, count in sorted(left_out.items()))
        warnings.warn(f"{path}: features left out: {counts}", stacklevel=2)


def _place(feature: Any, length: int, is_circular: bool) -> _Place | str:
    """Return where a feature lies on its record, or in words why it does not."""
    location = feature.location
    if location is None:
        return "with a location that cannot be read"
    parts = location.parts[:: -1 if location.strand == -1 else 1]
    local = [part for part in parts if part.ref is None]
    spans = [(int(part.start), int(part.end)) for part in local if part.start < part.end]
    if not spans:
        return "between two bases" if local else "on another sequence"
    is_whole = len(local) == len(parts) and location.strand is not None and "trans_splicing" not in feature.qualifiers
    turn = next((i for i in range(1, len(spans)) if spans[i][0] < spans[i - 1][0]), len(spans))
    if is_whole and turn < len(spans):
        # a record may leave out that it is circular
        is_circular |= (spans[turn - 1][1], spans[turn][0]) == (length, 0)
        around = spans[:turn] + [(start + length, end + length) for start, end in spans[turn:]]
        is_whole = is_circular and around == sorted(around) and around[-1][1] - length <= spans[0][0]
        spans = around if is_whole else spans
    return _Place(spans, is_whole, is_circular)


def _lines(feature: Any, place: _Place, where: str, name: str) -> Iterator[AnnotationLine]:
    if not place.is_whole:
        yield from (AnnotationLine(where, name, *span, ".", "gene", "", ()) for span in place.spans)
        return
    strand = {1: "+", -1: "-"}[feature.location.strand]
    whole = place.spans[0][0], max(end for _, end in place.spans)
    tag = _qualifier(feature, "locus_tag")
    gene = f"{name} gene {tag}" if tag else ""
    if feature.type == "gene":
        yield AnnotationLine(where, name, *whole, strand, "gene", gene or where, ())
        return
    is_coding = feature.type == "CDS"
    yield AnnotationLine(
        where, name, *whole, strand, f"{feature.type} transcript", where, (gene,) if gene and is_coding else ()
    )
    table = whole_number(_qualifier(feature, "transl_table"))
    phase = (whole_number(_qualifier(feature, "codon_start")) or 1) - 1
    # in reading order the first part has the phase, and those of the others follow from it
    first = place.spans[0 if strand == "+" else -1]
    for span in place.spans:
        frame = phase if is_coding and span == first else None
        yield AnnotationLine(where, name, *span, strand, "CDS" if is_coding else "exon", "", (where,), frame, table)


def _qualifier(feature: Any, name: str) -> str:
    return next(iter(feature.qualifiers.get(name, [])), "")


def _records(path: Path, kind: str) -> Iterator[Any]:
    from Bio import BiopythonWarning, SeqIO

    unreadable = (*READ_ERRORS, BiopythonWarning, *BIOPYTHON_ERRORS)
    with raising(SequenceError, f"{path}: damaged {TABLE_NAMES[kind]} file; get it again", *unreadable):
        with open_maybe_gzip_text(path, errors="replace") as file:
            # Biopython only warns of a truncated last record, which would lose features silently; of locations that
            # it cannot read it warns one by one, and we with their number.
            yield from strictly(
                SeqIO.parse(file, kind), "Premature end of file", ignored=".*setting feature location to None"
            )
