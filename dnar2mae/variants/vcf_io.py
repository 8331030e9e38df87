"""Read VCF files, by pysam, and write scored variants, as VCF or as a line an allele."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dnar2mae.errors import ConfigError, SequenceError, needing
from dnar2mae.storage.safe_files import output_file
from dnar2mae.variants.files import FIELDS, Writer, texts
from dnar2mae.variants.scores import Scores


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
    def writer(self, out: Path, *, distance: bool, source: str) -> Iterator[Writer]:
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
        self.file = file
        self.names = [name for name in FIELDS if distance or name != "R2MAE_DIST"]
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
        values = dict(zip(FIELDS, [texts(scores.ratio, "."), texts(scores.distance, "."), statuses], strict=True))
        if statuses:
            kept += [f"{name}={','.join(values[name])}" for name in self.names]
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
        columns = [texts(scores.ratio, "NA"), *([texts(scores.distance, "NA")] if self.distance else []), statuses]
        none = (".", *["NA"] * (len(columns) - 1), "no_alt")
        for own in zip(record.alts or (), *columns, strict=True) if statuses else [none]:
            self._line(record.chrom, str(record.pos), record.id or ".", record.ref, *own)

    def _line(self, *fields: str) -> None:
        self.file.write(("\t".join(fields) + "\n").encode())
