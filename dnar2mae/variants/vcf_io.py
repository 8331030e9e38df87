"""VCF files in, by pysam, and scored variants out, as VCF or as a table."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.variants.scores import Scores

_FIELDS = {
    "R2MAE_LLR": ("Float", "Log-likelihood ratio of ALT against REF in nats; lower is less expected"),
    "R2MAE_DIST": ("Float", "Euclidean distance of the mean embeddings of REF and ALT"),
    "R2MAE_STATUS": ("String", "scored, or why there is no score"),
}


def read_header(vcf: Path) -> str:
    """Header lines of a VCF or BCF file.

    Raises
    ------
    SequenceError
        As :func:`read_records`.
    """
    with _reading(vcf) as pysam, pysam.VariantFile(str(vcf)) as file:
        return str(file.header)


def read_records(vcf: Path) -> Iterator[Any]:
    """Records of a VCF (plain or bgzip) or BCF file, as pysam gives them.

    Raises
    ------
    SequenceError
        If pysam is missing, or the file is, has no header, is damaged, or is gzip but not bgzip.
    """
    number = 0
    with _reading(vcf, lambda: f" after {number} records") as pysam, pysam.VariantFile(str(vcf)) as file:
        for record in file:
            str(record)  # fails on text that is not UTF-8
            number += 1
            yield record


@contextmanager
def _reading(vcf: Path, place: Callable[[], str] = str) -> Iterator[Any]:
    """Silence htslib's own messages, and give pysam's errors in one line."""
    try:
        import pysam
    except ImportError as error:
        raise SequenceError(f"{vcf}: reading VCF needs pysam: pip install 'dnar2mae[variants]'") from error
    before = pysam.set_verbosity(0)
    try:
        yield pysam
    except NotImplementedError as error:
        raise SequenceError(f"{vcf}: gzip but not bgzip; run: gunzip -c {vcf} | bgzip > fixed.vcf.gz") from error
    except UnicodeDecodeError as error:
        raise SequenceError(f"{vcf}: not UTF-8 text{place()}: {error}") from error
    except ValueError as error:
        raise SequenceError(
            f"{vcf}: no VCF header; the first line must be ##fileformat=VCFv4.x, and a #CHROM line must follow"
        ) from error
    except OSError as error:
        raise SequenceError(f"{vcf}: cannot be read{place()}: {error.strerror or error}") from error
    finally:
        pysam.set_verbosity(before)


class Writer(Protocol):
    """Takes records in order."""

    def write(self, record: Any, scores: Scores, statuses: Sequence[str]) -> None:
        """Write a record with one score and status an alternative allele."""


@contextmanager
def open_writer(out: Path, header: str, *, distance: bool, source: str) -> Iterator[Writer]:
    """Open the output; it appears under its name when all went well.

    Parameters
    ----------
    out
        ``.vcf``, ``.vcf.gz`` (bgzip) or ``.tsv``.
    header
        Lines of the input's header.
    distance
        Whether there are distances to write.
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
    partial = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with BGZFile(str(partial), "wb", None) if out.suffix == ".gz" else partial.open("wb") as file:
            yield _Table(file, distance) if out.suffix == ".tsv" else _Vcf(file, header, distance, source)
        partial.replace(out)
    except OSError as error:
        raise ConfigError(f"--out must be writable, got {out}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


class _Vcf:
    """The input's lines with INFO fields added; fields of the same name from an earlier scoring are replaced."""

    def __init__(self, file: Any, header: str, distance: bool, source: str) -> None:
        self.file = file
        self.names = [name for name in _FIELDS if distance or name != "R2MAE_DIST"]
        ours = tuple(f"##INFO=<ID={name}," for name in _FIELDS)
        lines = [line for line in header.rstrip("\n").split("\n") if not line.startswith((*ours, "##dnar2mae_model="))]
        added = [
            f'##INFO=<ID={name},Number=A,Type={_FIELDS[name][0]},Description="{_FIELDS[name][1]}">'
            for name in self.names
        ]
        self._line("\n".join([*lines[:-1], *added, f"##dnar2mae_model={source}", lines[-1]]))

    def write(self, record: Any, scores: Scores, statuses: Sequence[str]) -> None:
        """Write the record's line."""
        columns = str(record).rstrip("\n").split("\t")
        kept = [item for item in columns[7].split(";") if item.partition("=")[0] not in _FIELDS and item != "."]
        texts = [_texts(scores.ratio, "."), _texts(scores.distance, "."), statuses]
        values = dict(zip(_FIELDS, texts, strict=True))
        if statuses:
            kept += [f"{name}={','.join(values[name])}" for name in self.names]
        columns[7] = ";".join(kept) or "."
        self._line("\t".join(columns))

    def _line(self, text: str) -> None:
        self.file.write(f"{text}\n".encode())


class _Table:
    """A line an allele."""

    def __init__(self, file: Any, distance: bool) -> None:
        self.file, self.distance = file, distance
        self._line("chrom", "pos", "id", "ref", "alt", "llr", *(["distance"] if distance else []), "status")

    def write(self, record: Any, scores: Scores, statuses: Sequence[str]) -> None:
        """Write the record's alleles; one without any keeps a line."""
        columns = [_texts(scores.ratio, "NA"), *([_texts(scores.distance, "NA")] if self.distance else []), statuses]
        none = (".", *["NA"] * (len(columns) - 1), "no_alt")
        for own in zip(record.alts or (), *columns, strict=True) if statuses else [none]:
            self._line(record.chrom, str(record.pos), record.id or ".", record.ref, *own)

    def _line(self, *fields: str) -> None:
        self.file.write(("\t".join(fields) + "\n").encode())


def _texts(values: np.ndarray, missing: str) -> list[str]:
    return [missing if np.isnan(value) else f"{value:.6g}" for value in values]
