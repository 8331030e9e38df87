"""Read tables of variants, and write them again with scores."""

import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from dnar2mae.errors import ConfigError, SequenceError, raising
from dnar2mae.storage.compressed import READ_ERRORS, open_maybe_gzip_text
from dnar2mae.storage.safe_files import output_file
from dnar2mae.variants.files import FIELDS, Writer, texts
from dnar2mae.variants.scores import Scores

SUFFIXES = (".tsv", ".csv", ".tsv.gz", ".csv.gz")
_COLUMNS = {
    "chrom": ("chrom", "#chrom", "chromosome", "chr", "contig"),
    "pos": ("pos", "position", "start"),
    "ref": ("ref", "reference", "reference_allele"),
    "alt": ("alt", "alternative", "alternate", "alternate_allele"),
}
"""Names of the columns that are needed, in any case; the first that a table has is taken."""


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
    def writer(self, out: Path, *, distance: bool, source: str) -> Iterator[Writer]:
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
        names = [name for name in FIELDS if distance or name != "R2MAE_DIST"]
        self._kept = [i for i, name in enumerate(header) if name not in FIELDS]
        self._distance = distance
        self._writer.writerow([*(header[i] for i in self._kept), *names])

    def write(self, record: Row, scores: Scores, statuses: Sequence[str]) -> None:
        """Write the line; values of several alternative alleles are joined by commas."""
        columns = [texts(scores.ratio, "NA"), *([texts(scores.distance, "NA")] if self._distance else []), statuses]
        added = [",".join(values) for values in columns] if statuses else ["NA"] * (len(columns) - 1) + ["no_alt"]
        self._writer.writerow([*(record.values[i] for i in self._kept), *added])
