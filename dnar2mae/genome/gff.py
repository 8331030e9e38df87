"""Lines of GFF3 and GTF (GFF2) files, which differ in how they write attributes."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from dnar2mae.errors import SequenceError, raising
from dnar2mae.genome.annotation_lines import AnnotationLine, whole_number
from dnar2mae.storage.compressed import READ_ERRORS, open_maybe_gzip_text

Dialect = Literal["GFF3", "GTF"]
"""How a file writes attributes: ``ID=x;Parent=y``, or ``gene_id "x"; transcript_id "y";`` with or without quotes."""

# many more than the lines that a file may have before its first usual one; few enough to read twice
_SAMPLE_LINES = 10_000
_VERSION = re.compile(r"#+!?\s*(gff|gtf)-version:?\s+(\d)")
_FIRST_PAIR: dict[Dialect, re.Pattern[str]] = {
    "GFF3": re.compile(r"\s*[^\s=;]+\s*="),
    "GTF": re.compile(r"\s*[^\s=;]+\s+[^\s=;]"),
}
_GTF_PAIR = re.compile(r'\s*([^\s;"]+)\s+(?:"([^"]*)"|([^;"]*))\s*(?:;|$)')


def read_dialect(path: Path) -> Dialect:
    """Return the dialect of a whole file, so that no odd line is read by other rules than its neighbours.

    The version that the file states in its first lines decides, unless no line is written so; else the majority of
    its lines does (of its first 10,000); else its name.

    Raises
    ------
    SequenceError
        The file cannot be read.
    """
    votes: dict[Dialect, int] = {"GFF3": 0, "GTF": 0}
    stated: Dialect | None = None
    for _, text in islice(_lines(path), _SAMPLE_LINES):
        if version := _VERSION.match(text):
            stated = stated or ("GFF3" if version.groups() == ("gff", "3") else "GTF")
        attributes = text.split("\t")[8:9]
        for dialect, pair in _FIRST_PAIR.items():
            votes[dialect] += bool(attributes and pair.match(attributes[0]))
    if stated and votes[stated]:
        return stated
    if votes["GFF3"] == votes["GTF"]:
        return stated or ("GTF" if ".gtf" in path.name.lower() else "GFF3")
    return max(votes, key=lambda dialect: votes[dialect])


def gff_lines(path: Path, dialect: Dialect) -> Iterator[AnnotationLine]:
    """Read the lines of a file, up to its sequences if it has any.

    Raises
    ------
    SequenceError
        The file cannot be read, or a line breaks its format.
    """
    for where, text in _lines(path):
        if text.startswith("#"):
            continue
        fields = [field.strip() for field in text.split("\t")]
        # GFF2 may end before the attributes
        if len(fields) == 8:
            fields.append("")
        start, end = map(whole_number, fields[3:5]) if len(fields) == 9 else (None, None)
        if start is None or end is None:
            raise SequenceError(f"{where}: a line has 9 tab-separated columns with start and end, got {text[:60]!r}")
        name, _, kind, _, _, _, strand, phase, attributes = fields
        if dialect == "GFF3":
            name, (own, parents, pairs) = unquote(name), _gff3_attributes(attributes)
        else:
            own, parents, pairs = _gtf_attributes(attributes, kind)
        table, label = whole_number(pairs.get("transl_table", "")), pairs.get("Name", "")
        is_circular = pairs.get("Is_circular", "").lower() == "true"
        span = start - 1, end
        yield AnnotationLine(
            where, name, *span, strand, kind, own, parents, whole_number(phase), table, label, is_circular
        )


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield lines with file and line number, without blank and browser lines, up to the sequences of a GFF3."""
    with raising(SequenceError, f"{path}: cannot be read; check the path and the file", *READ_ERRORS):
        with open_maybe_gzip_text(path, errors="replace", newline="\n") as file:
            for number, line in enumerate(file, 1):
                text = line.rstrip("\r\n")
                # no sequence's name may begin with >: some programs leave the pragma before sequences out
                if text.startswith(("##FASTA", ">")):
                    return
                # a line of a browser, unless it has the columns of a sequence of that name
                is_browsers = text.count("\t") < 7 and text.split(maxsplit=1)[:1] in (["track"], ["browser"])
                if text.strip() and not is_browsers:
                    yield f"{path}:{number}", text


def _gff3_attributes(text: str) -> tuple[str, tuple[str, ...], dict[str, str]]:
    """Return ID, parents and all attributes."""
    split = (pair.split("=", 1) for pair in text.split(";") if "=" in pair)
    pairs = {key.strip(): value.strip() for key, value in split}
    # commas part several values, so they are looked for before escaped ones are read
    parents = tuple(unquote(parent) for parent in pairs.get("Parent", "").split(",") if parent)
    pairs = {key: unquote(value) for key, value in pairs.items()}
    return pairs.get("ID", ""), parents, pairs


def _gtf_attributes(text: str, kind: str) -> tuple[str, tuple[str, ...], dict[str, str]]:
    """Return what stands for ID and parents in a line of this type, and all attributes."""
    pairs = {key: quoted or bare.strip() for key, quoted, bare in _GTF_PAIR.findall(text)}
    transcript, gene = pairs.get("transcript_id", ""), pairs.get("gene_id", "")
    if kind == "gene":
        return gene, (), pairs
    own, parent = (transcript, gene) if kind == "transcript" else ("", transcript or gene)
    return own, (parent,) if parent else (), pairs
