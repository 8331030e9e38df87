"""Read variants of VCF files and tables; write them scored, all else as it was, or as a line an allele."""

import csv
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from dnar2mae.errors import ConfigError, Dnar2maeError, SequenceError, needing, raising, reason
from dnar2mae.storage.compressed import READ_ERRORS, open_maybe_gzip, open_maybe_gzip_text
from dnar2mae.storage.safe_files import output_file
from dnar2mae.variants.options import ScoreOptions
from dnar2mae.variants.scores import Scores

FIELDS = {
    "R2MAE_LLR": ("Float", "Log-likelihood ratio of ALT against REF in nats; lower is less expected"),
    "R2MAE_DIST": ("Float", "Euclidean distance of the mean embeddings of REF and ALT"),
    "R2MAE_PCT": ("Float", "Per cent of substitutions of the same trinucleotide in the genome that score lower"),
    "R2MAE_STATUS": ("String", "scored, or why there is no score"),
}
"""Names, types and meaning of the fields that scoring adds to a variant."""
VALUES = {"R2MAE_LLR": "ratio", "R2MAE_DIST": "distance", "R2MAE_PCT": "percentile"}
"""Of which scores the fields of numbers are."""
COLUMNS = {"R2MAE_LLR": "llr", "R2MAE_DIST": "distance", "R2MAE_PCT": "percentile", "R2MAE_STATUS": "status"}
"""The fields' names in a table of alleles."""
SUFFIXES = (".tsv", ".csv")
_COLUMNS = {
    "chrom": ("chrom", "#chrom", "chromosome", "chr", "contig"),
    "pos": ("pos", "position", "start"),
    "ref": ("ref", "reference", "reference_allele"),
    "alt": ("alt", "alternative", "alternate", "alternate_allele"),
}
"""Names of the columns that are needed, in any case; the first that a table has is taken."""
VCF_COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
_DIGITS = re.compile("[0-9]{1,18}")
# a column of whole numbers in which one is missing comes out of pandas as 12345.0
_WHOLE = re.compile(r"([0-9]{1,18})(?:\.0*)?")
# of a header line such as ##INFO=<ID=AF,Number=A,Type=Float,Description="a, b">
_ATTRIBUTE = re.compile(r'([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^,>]*)')


def field_names(options: ScoreOptions) -> list[str]:
    """Return the names of the fields that scoring adds, the status last."""
    left_out = {"R2MAE_DIST": not options.distance, "R2MAE_PCT": not options.calibrate}
    return [name for name in FIELDS if not left_out.get(name)]


def find_columns(names: Sequence[str], where: str) -> dict[str, int]:
    """Return the numbers of the columns chrom, pos, ref and alt, by the usual names of each.

    Raises
    ------
    SequenceError
        If one of them is missing.
    """
    lower, found = [name.strip().lower() for name in names], {}
    for wanted, aliases in _COLUMNS.items():
        numbers = [lower.index(alias) for alias in aliases if alias in lower]
        if not numbers:
            raise SequenceError(f"{where}: expected a column {' or '.join(aliases)}, got {', '.join(lower)[:200]}")
        found[wanted] = numbers[0]
    return found


def row_record(chrom: str, pos: str, ref: str, alt: str, columns: list[str]) -> "Record":
    """Return the record of a row of a table; one whose position is no whole number has none."""
    whole = _WHOLE.fullmatch(pos)
    ref, *alts = ("" if allele == "-" else allele for allele in (ref, *alt.split(",")))
    return Record(chrom, int(whole[1]) if whole else None, ".", ref, () if alt in ("", ".") else tuple(alts), columns)


def _texts(scores: Scores, statuses: Sequence[str], missing: str, names: Sequence[str]) -> list[Sequence[str]]:
    """Return the texts of the added fields, each with one an allele; numbers have six digits."""
    numbers = [getattr(scores, VALUES[name]) for name in names[:-1]]
    return [*([missing if np.isnan(value) else f"{value:.6g}" for value in part] for part in numbers), statuses]


class Record(NamedTuple):
    """A line of a VCF file or of a table."""

    chrom: str
    pos: int | None
    """First reference base, 1-based; None where a table leaves it out."""
    id: str
    ref: str
    alts: tuple[str, ...]
    """Alternative alleles as written, but none for ``.``; a table's ``-`` is an empty allele."""
    columns: list[str]
    """All columns as they are in the file."""
    end: str = "\n"
    """End of the line."""


class VariantTable:
    """A TSV or CSV file, plain or gzip, with the columns chrom, pos (1-based, as in VCF), ref and alt.

    The alleles ``-`` are read as Ensembl and VEP write them: ALT ``-`` deletes REF, and with REF ``-``, ALT is inserted
    before the base at ``pos``. Where ``pos`` is no number (``NA``), the line stays and has no score.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    SequenceError
        If it cannot be read or lacks one of the columns.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.delimiter = "\t" if ".tsv" in path.name.lower() else ","
        with self._lines() as lines:
            self.header = next(lines, [])
        self._index = find_columns(self.header, str(path))

    def records(self) -> Iterator[Record]:
        """Yield the lines in order.

        Raises
        ------
        SequenceError
            If a line has too few columns.
        """
        with self._lines() as lines:
            next(lines)
            for number, values in enumerate(lines, 2):
                if len(values) != len(self.header):
                    raise SequenceError(f"{self.path}:{number}: expected {len(self.header)} columns, got {len(values)}")
                chrom, pos, ref, alt = (values[self._index[name]].strip() for name in _COLUMNS)
                yield row_record(chrom, pos, ref, alt, values)

    def has_field(self, name: str) -> bool:
        """Tell whether there is a column of this name."""
        return name in self.header

    def label(self, record: Record, name: str, allele: int) -> str | None:
        """Return the value of a column."""
        return record.columns[self.header.index(name)]

    @contextmanager
    def writer(self, out: Path, names: Sequence[str], source: str) -> "Iterator[_TableWriter]":
        """Open the output: this table with columns of the names that the INFO fields have.

        Raises
        ------
        ConfigError
            If the suffix is not .tsv or the file cannot be written.
        """
        if out.suffix != ".tsv":
            raise ConfigError(f"--out must end in .tsv when the variants come as a table, got {out}")
        with output_file(out) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            yield _TableWriter(file, self.header, names)

    @contextmanager
    def _lines(self) -> Iterator[Iterator[list[str]]]:
        csv.field_size_limit(sys.maxsize)  # the default of 131,072 letters is too short for long alleles
        unreadable = (*READ_ERRORS, UnicodeDecodeError, csv.Error)
        with (
            raising(SequenceError, f"{self.path}: cannot be read as a table", *unreadable),
            open_maybe_gzip_text(self.path, newline="") as text,
        ):
            yield self._single(csv.reader(_without_mark(text), delimiter=self.delimiter, strict=True))

    def _single(self, rows: Iterable[list[str]]) -> Iterator[list[str]]:
        """Refuse a cell of several lines: its quote was never meant as one, and it would swallow the rows below."""
        for row in rows:
            if any("\n" in cell for cell in row):
                first = next(cell for cell in row if "\n" in cell).splitlines()[0]
                raise SequenceError(f"{self.path}: a cell goes over several lines, from a quote in {first[:60]!r} on")
            yield row


class _TableWriter:
    def __init__(self, file: Any, header: Sequence[str], names: Sequence[str]) -> None:
        self._writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        self._kept = [i for i, name in enumerate(header) if name not in FIELDS]
        self._names = names
        self._writer.writerow([*(header[i] for i in self._kept), *names])

    def write(self, record: Record, scores: Scores, statuses: Sequence[str]) -> None:
        """Write the line; values of several alternative alleles are joined by commas."""
        columns = _texts(scores, statuses, "NA", self._names)
        added = [",".join(values) for values in columns] if statuses else ["NA"] * (len(columns) - 1) + ["no_alt"]
        self._writer.writerow([*(record.columns[i] for i in self._kept), *added])


class VcfFile:
    """A VCF file, plain, gzip or bgzip, whose lines are kept as they are; or BCF, as pysam prints it.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    SequenceError
        If it cannot be read or has no header, or it is BCF and pysam is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: list[str] = []
        with self._reading(), self._lines() as lines:
            for line in lines:
                self.header.append(line)
                if not line.startswith("##"):
                    break
        if not self.header or not self.header[0].startswith("##fileformat=VCF"):
            raise SequenceError(
                f"{path}: no VCF header; the first line must be ##fileformat=VCFv4.x, and a #CHROM line must follow"
            )
        self._end = self.header[-1][len(self.header[-1].rstrip("\r\n")) :]
        self._num_columns = len(self.header[-1].split("\t"))
        if not re.match(VCF_COLUMNS + "[\t\r\n]", self.header[-1] + "\n"):
            raise self._fault(len(self.header), f"expected the line {VCF_COLUMNS!r}...", self.header[-1])

    def records(self) -> Iterator[Record]:
        """Yield the records in order.

        Raises
        ------
        SequenceError
            If the file is damaged.
        """
        number = 0

        def before() -> str:
            return f" after {number} records"

        with self._reading(before), self._lines() as lines:
            for at, line in enumerate(lines, 1):
                text = line.rstrip("\r\n")
                if at <= len(self.header) or not text:
                    continue
                columns = text.split("\t")
                if len(columns) != self._num_columns:
                    what = f"expected {self._num_columns} columns, separated by tabs, as in the #CHROM line"
                    raise self._fault(at, f"{what}, got {len(columns)}", text)
                chrom, pos, name, ref, alt, *_ = columns
                if not _DIGITS.fullmatch(pos):
                    raise self._fault(at, f"POS is a whole number, got {pos[:40]!r}", text)
                alts = () if alt in (".", "") else tuple(allele or "." for allele in alt.split(","))
                number += 1
                yield Record(chrom, int(pos), name, ref or ".", alts, columns, line[len(text) :] or self._end)

    def has_field(self, name: str) -> bool:
        """Tell whether the header declares an INFO field of this name."""
        return self._number(name) is not None

    def label(self, record: Record, name: str, allele: int) -> str | None:
        """Return the value of an INFO field, the allele's own for Number=A; a flag is 1 where it is set and 0 else."""
        fields = dict(item.partition("=")[::2] for item in record.columns[7].split(";"))
        number, value = self._number(name), fields.get(name)
        if number == "0":
            return str(int(value is not None))
        if number == "A" and value is not None:
            values = value.split(",")
            value = values[allele] if allele < len(values) else None
        return None if value in (".", None) else value

    def writer(self, out: Path, names: Sequence[str], source: str) -> "AbstractContextManager[VcfWriter]":
        """Open the output, as :func:`vcf_writer`."""
        return vcf_writer(out, self.header, names, source)

    def _fault(self, line: int, what: str, text: str) -> SequenceError:
        short = text.rstrip("\r\n")
        return SequenceError(f"{self.path}: line {line}: {what}: {short[:60]}{'...' * (len(short) > 60)}")

    def _number(self, name: str) -> str | None:
        """Return the ``Number`` by which the header declares an INFO field; None where it does not."""
        for line in self.header:
            if line.startswith("##INFO=<"):
                about = dict(_ATTRIBUTE.findall(line.removeprefix("##INFO=<")))
                if about.get("ID") == name:
                    return about.get("Number", ".")
        return None

    @contextmanager
    def _reading(self, position: Callable[[], str] = str) -> Iterator[None]:
        """Turn errors of reading into one line."""
        try:
            yield
        except UnicodeDecodeError as error:
            raise SequenceError(f"{self.path}: not UTF-8 text{position()}: {error}") from error
        except (*READ_ERRORS, ValueError) as error:
            if isinstance(error, Dnar2maeError):
                raise
            raise SequenceError(f"{self.path}: cannot be read{position()}: {reason(error)}") from error

    @contextmanager
    def _lines(self) -> Iterator[Iterator[str]]:
        """Open the file as lines of VCF with their ends."""
        with open_maybe_gzip(self.path) as stream:
            is_bcf = stream.read(3) == b"BCF"
        if is_bcf:
            with needing(f"{self.path}: reading BCF", "pysam", "dnar2mae[variants]", SequenceError):
                import pysam
            before = pysam.set_verbosity(0)  # htslib prints messages of its own
            try:
                with pysam.VariantFile(str(self.path)) as file:
                    yield chain(str(file.header).splitlines(keepends=True), map(str, file))
            finally:
                pysam.set_verbosity(before)
            return
        # by bytes: characters at which Python splits text may be part of a field, and a fault has its line
        with open_maybe_gzip(self.path) as stream:
            yield _without_mark(line.decode() for line in stream)


@contextmanager
def vcf_writer(out: Path, header: Sequence[str], names: Sequence[str], source: str) -> "Iterator[VcfWriter]":
    """Open the output for records of a VCF.

    Parameters
    ----------
    out
        ``.vcf``, ``.vcf.gz`` (bgzip) or ``.tsv`` (a line an allele).
    header
        The VCF's, line by line.
    names
        The fields to write, as :func:`field_names` returns them.
    source
        The model, for the header.

    Raises
    ------
    ConfigError
        If the suffix is unknown or the file cannot be written.
    """
    from Bio.bgzf import BgzfWriter

    if not out.name.endswith((".vcf", ".vcf.gz", ".tsv")):
        raise ConfigError(f"--out must end in .vcf, .vcf.gz or .tsv, got {out}")
    with (
        output_file(out) as partial,
        closing(BgzfWriter(str(partial), "wb")) if out.suffix == ".gz" else partial.open("wb") as file,
    ):
        yield _AlleleTable(file, names) if out.suffix == ".tsv" else _Vcf(file, header, names, source)


def _without_mark(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines without the byte order mark that programs under Windows put before a text."""
    for number, line in enumerate(lines):
        yield line if number else line.removeprefix("\ufeff")


class _Vcf:
    """The input's lines with INFO fields added; fields of the same name from an earlier scoring are replaced."""

    def __init__(self, file: Any, header: Sequence[str], names: Sequence[str], source: str) -> None:
        self.file, self.names = file, names
        ours = (*(f"##INFO=<ID={name}," for name in FIELDS), "##dnar2mae_model=")
        *lines, columns = [line for line in header if not line.startswith(ours)]
        added = [
            f'##INFO=<ID={name},Number=A,Type={FIELDS[name][0]},Description="{FIELDS[name][1]}">' for name in self.names
        ]
        text = columns.rstrip("\r\n")
        end = columns[len(text) :] or "\n"
        lines += [f"{line}{end}" for line in (*added, f"##dnar2mae_model={source}", text)]
        self.file.write("".join(lines).encode())

    def write(self, record: Record, scores: Scores, statuses: Sequence[str]) -> None:
        """Write the record's line."""
        columns = list(record.columns)
        items = columns[7].split(";")
        if any(item.partition("=")[0] in FIELDS for item in items):
            columns[7] = ";".join(item for item in items if item.partition("=")[0] not in FIELDS) or "."
        if statuses:
            values = _texts(scores, statuses, ".", self.names)
            added = ";".join(f"{name}={','.join(own)}" for name, own in zip(self.names, values, strict=True))
            before = "" if columns[7] == "." else columns[7]
            columns[7] = before + ";" * (before != "" and not before.endswith(";")) + added
        self.file.write(("\t".join(columns) + record.end).encode())


class _AlleleTable:
    """A line an allele."""

    def __init__(self, file: Any, names: Sequence[str]) -> None:
        self.file, self.names = file, names
        self._line("chrom", "pos", "id", "ref", "alt", *(COLUMNS[name] for name in names))

    def write(self, record: Record, scores: Scores, statuses: Sequence[str]) -> None:
        """Write the record's alleles; one without any keeps a line."""
        columns = _texts(scores, statuses, "NA", self.names)
        none = (".", *["NA"] * (len(columns) - 1), "no_alt")
        for own in zip(record.alts, *columns, strict=True) if statuses else [none]:
            self._line(record.chrom, str(record.pos), record.id, record.ref, *own)

    def _line(self, *fields: str) -> None:
        self.file.write(("\t".join(fields) + "\n").encode())


VcfWriter = _AlleleTable | _Vcf
"""Both have ``write``."""


@runtime_checkable
class Variants(Protocol):
    """What is scored: a file of variants, or all substitutions of a genome."""

    path: Path

    def records(self) -> Iterator[Record]:
        """Yield the records in order."""
        ...

    def has_field(self, name: str) -> bool:
        """Tell whether records have a field of this name."""
        ...

    def label(self, record: Record, name: str, allele: int) -> str | None:
        """Return the value of a field."""
        ...

    def writer(
        self, out: Path, names: Sequence[str], source: str
    ) -> "AbstractContextManager[_TableWriter | VcfWriter]":
        """Open the output."""
        ...
