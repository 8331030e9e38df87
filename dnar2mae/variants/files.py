"""Read variants of VCF files, by pysam, and of tables; write them scored, as they were or as a line an allele."""

import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnar2mae.errors import ConfigError, SequenceError, needing, raising
from dnar2mae.storage.compressed import READ_ERRORS, open_maybe_gzip_text
from dnar2mae.storage.safe_files import output_file
from dnar2mae.variants.scores import Scores

FIELDS = {
    "R2MAE_LLR": ("Float", "Log-likelihood ratio of ALT against REF in nats; lower is less expected"),
    "R2MAE_DIST": ("Float", "Euclidean distance of the mean embeddings of REF and ALT"),
    "R2MAE_STATUS": ("String", "scored, or why there is no score"),
}
"""Names, types and meaning of the fields that scoring adds to a variant."""
SUFFIXES = (".tsv", ".csv")
_COLUMNS = {
    "chrom": ("chrom", "#chrom", "chromosome", "chr", "contig"),
    "pos": ("pos", "position", "start"),
    "ref": ("ref", "reference", "reference_allele"),
    "alt": ("alt", "alternative", "alternate", "alternate_allele"),
}
"""Names of the columns that are needed, in any case; the first that a table has is taken."""


def _columns(scores: Scores, statuses: Sequence[str], missing: str, *, distance: bool) -> list[Sequence[str]]:
    """Return the texts of the added fields, each with one an allele; numbers have six digits."""
    numbers = [scores.ratio, scores.distance][: 1 + distance]
    return [*([missing if np.isnan(value) else f"{value:.6g}" for value in part] for part in numbers), statuses]


def _names(distance: bool) -> list[str]:
    return [name for name in FIELDS if distance or name != "R2MAE_DIST"]


class Row(NamedTuple):
    """A line of a table, with the attributes of a VCF record."""

    chrom: str
    pos: int
    start: int
    ref: str
    alts: tuple[str, ...]
    values: list[str]
    """All columns."""


class VariantTable:
    """A TSV or CSV file, plain or gzip, with the columns chrom, pos (1-based, as in VCF), ref and alt.

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
        names = [name.strip().lower() for name in self.header]
        self._index = {}
        for wanted, aliases in _COLUMNS.items():
            indices = [names.index(alias) for alias in aliases if alias in names]
            if not indices:
                raise SequenceError(f"{path}: expected a column {' or '.join(aliases)}, got {', '.join(names)[:200]}")
            self._index[wanted] = indices[0]

    def records(self) -> Iterator[Row]:
        """Yield the lines in order.

        Raises
        ------
        SequenceError
            If a line has too few columns or a position is no number.
        """
        with self._lines() as lines:
            next(lines)
            for number, values in enumerate(lines, 2):
                if len(values) != len(self.header):
                    raise SequenceError(f"{self.path}:{number}: expected {len(self.header)} columns, got {len(values)}")
                chrom, pos, ref, alt = (values[self._index[name]].strip() for name in _COLUMNS)
                if not pos.isdecimal():
                    raise SequenceError(f"{self.path}:{number}: a position is a whole number from 1, got {pos!r}")
                alts = () if alt in ("", ".") else tuple(alt.split(","))
                yield Row(chrom, int(pos), int(pos) - 1, ref, alts, values)

    def has_field(self, name: str) -> bool:
        """Tell whether there is a column of this name."""
        return name in self.header

    def label(self, record: Row, name: str, allele: int) -> str | None:
        """Return the value of a column."""
        return record.values[self.header.index(name)]

    @contextmanager
    def writer(self, out: Path, *, distance: bool, source: str) -> "Iterator[_TableWriter]":
        """Open the output: this table with columns of the names that the INFO fields have.

        Raises
        ------
        ConfigError
            If the suffix is not .tsv or the file cannot be written.
        """
        if out.suffix != ".tsv":
            raise ConfigError(f"--out must end in .tsv when the variants come as a table, got {out}")
        with output_file(out) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            yield _TableWriter(file, self.header, distance)

    @contextmanager
    def _lines(self) -> Iterator[Iterator[list[str]]]:
        csv.field_size_limit(sys.maxsize)  # the default of 131,072 letters is too short for long alleles
        damage = (*READ_ERRORS, UnicodeDecodeError, csv.Error)
        with (
            raising(SequenceError, f"{self.path}: cannot be read as a table", *damage),
            open_maybe_gzip_text(self.path, newline="") as text,
        ):
            yield csv.reader(text, delimiter=self.delimiter)


class _TableWriter:
    def __init__(self, file: Any, header: Sequence[str], distance: bool) -> None:
        self._writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        self._kept = [i for i, name in enumerate(header) if name not in FIELDS]
        self._distance = distance
        self._writer.writerow([*(header[i] for i in self._kept), *_names(distance)])

    def write(self, record: Row, scores: Scores, statuses: Sequence[str]) -> None:
        """Write the line; values of several alternative alleles are joined by commas."""
        columns = _columns(scores, statuses, "NA", distance=self._distance)
        added = [",".join(values) for values in columns] if statuses else ["NA"] * (len(columns) - 1) + ["no_alt"]
        self._writer.writerow([*(record.values[i] for i in self._kept), *added])


class VcfFile:
    """A VCF (plain or bgzip) or BCF file.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    SequenceError
        If pysam is missing, or the file is, has no header, or is gzip but not bgzip.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _reading(path) as pysam, pysam.VariantFile(str(path)) as file:
            self.header = str(file.header)

    def records(self) -> Iterator[Any]:
        """Yield the records as pysam reads them.

        Raises
        ------
        SequenceError
            If the file is damaged.
        """
        number = 0
        with (
            _reading(self.path, lambda: f" after {number} records") as pysam,
            pysam.VariantFile(str(self.path)) as file,
        ):
            for record in file:
                str(record)  # fails on text that is not UTF-8
                number += 1
                yield record

    def has_field(self, name: str) -> bool:
        """Tell whether the header declares an INFO field of this name."""
        return f"##INFO=<ID={name}," in self.header

    def label(self, record: Any, name: str, allele: int) -> str | None:
        """Return the value of an INFO field, the allele's own for Number=A; a flag is 1 where it is set and 0 else."""
        number = record.header.info[name].number
        if number == 0:
            return str(int(name in record.info))
        value = record.info.get(name)
        if number == "A" and value is not None:
            value = value[allele]
        return None if value is None else ",".join(map(str, value)) if isinstance(value, tuple) else str(value)

    @contextmanager
    def writer(self, out: Path, *, distance: bool, source: str) -> "Iterator[_AlleleTable | _Vcf]":
        """Open the output.

        Parameters
        ----------
        out
            ``.vcf``, ``.vcf.gz`` (bgzip) or ``.tsv`` (a line an allele).
        distance
            Whether to write distances.
        source
            The model, for the header.

        Raises
        ------
        ConfigError
            If the suffix is unknown or the file cannot be written.
        """
        from pysam import BGZFile

        if not out.name.endswith((".vcf", ".vcf.gz", ".tsv")):
            raise ConfigError(f"--out must end in .vcf, .vcf.gz or .tsv, got {out}")
        with (
            output_file(out) as partial,
            BGZFile(str(partial), "wb", None) if out.suffix == ".gz" else partial.open("wb") as file,
        ):
            yield _AlleleTable(file, distance) if out.suffix == ".tsv" else _Vcf(file, self.header, distance, source)


@contextmanager
def _reading(vcf: Path, position: Callable[[], str] = str) -> Iterator[Any]:
    """Silence htslib's own messages, and turn pysam's errors into one line."""
    with needing(f"{vcf}: reading VCF", "pysam", "dnar2mae[variants]", SequenceError):
        import pysam
    before = pysam.set_verbosity(0)
    try:
        yield pysam
    except NotImplementedError as error:
        raise SequenceError(f"{vcf}: gzip but not bgzip; run: gunzip -c {vcf} | bgzip > fixed.vcf.gz") from error
    except UnicodeDecodeError as error:
        raise SequenceError(f"{vcf}: not UTF-8 text{position()}: {error}") from error
    except ValueError as error:
        raise SequenceError(
            f"{vcf}: no VCF header; the first line must be ##fileformat=VCFv4.x, and a #CHROM line must follow"
        ) from error
    except OSError as error:
        raise SequenceError(f"{vcf}: cannot be read{position()}: {error.strerror or error}") from error
    finally:
        pysam.set_verbosity(before)


class _Vcf:
    """The input's lines with INFO fields added; fields of the same name from an earlier scoring are replaced."""

    def __init__(self, file: Any, header: str, distance: bool, source: str) -> None:
        self.file, self.distance, self.names = file, distance, _names(distance)
        ours = tuple(f"##INFO=<ID={name}," for name in FIELDS)
        lines = [line for line in header.rstrip("\n").split("\n") if not line.startswith((*ours, "##dnar2mae_model="))]
        added = [
            f'##INFO=<ID={name},Number=A,Type={FIELDS[name][0]},Description="{FIELDS[name][1]}">' for name in self.names
        ]
        self._line("\n".join([*lines[:-1], *added, f"##dnar2mae_model={source}", lines[-1]]))

    def write(self, record: Any, scores: Scores, statuses: Sequence[str]) -> None:
        """Write the record's line."""
        columns = str(record).rstrip("\n").split("\t")
        kept = [item for item in columns[7].split(";") if item.partition("=")[0] not in FIELDS and item != "."]
        if statuses:
            values = _columns(scores, statuses, ".", distance=self.distance)
            kept += [f"{name}={','.join(own)}" for name, own in zip(self.names, values, strict=True)]
        columns[7] = ";".join(kept) or "."
        self._line("\t".join(columns))

    def _line(self, text: str) -> None:
        self.file.write(f"{text}\n".encode())


class _AlleleTable:
    """A line an allele."""

    def __init__(self, file: Any, distance: bool) -> None:
        self.file, self.distance = file, distance
        self._line("chrom", "pos", "id", "ref", "alt", "llr", *(["distance"] if distance else []), "status")

    def write(self, record: Any, scores: Scores, statuses: Sequence[str]) -> None:
        """Write the record's alleles; one without any keeps a line."""
        columns = _columns(scores, statuses, "NA", distance=self.distance)
        none = (".", *["NA"] * (len(columns) - 1), "no_alt")
        for own in zip(record.alts or (), *columns, strict=True) if statuses else [none]:
            self._line(record.chrom, str(record.pos), record.id or ".", record.ref, *own)

    def _line(self, *fields: str) -> None:
        self.file.write(("\t".join(fields) + "\n").encode())


Variants = VariantTable | VcfFile
"""Both have ``records``, ``has_field``, ``label`` and ``writer``."""
