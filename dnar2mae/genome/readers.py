"""Sequence files as a stream of letters, told by content: FASTA (also at the end of a GFF3), GenBank, EMBL, .2bit."""

import re
import warnings
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase, TextIOWrapper
from pathlib import Path
from typing import Any

from dnar2mae.errors import SequenceError, raising
from dnar2mae.genome.twobit import TwoBitFile, is_twobit
from dnar2mae.storage.compressed import READ_ERRORS, compression, decompressed

Piece = tuple[str | None, bytes]
"""The header where a sequence begins (None where it goes on), and letters without white space."""

_CHUNK = 1 << 20
_WHITESPACE = b" \t\r\n\v\f"
_LINE_END = re.compile(rb"[\r\n]")
_FORMATS = {b">": "fasta", b"LOCUS ": "genbank", b"ID   ": "embl", b"##gff-version": "gff3"}
BIOPYTHON_ERRORS = (ValueError, AssertionError, LookupError, TypeError, AttributeError, ArithmeticError)
"""Errors that Biopython's scanners raise on damaged files."""
# the empty block at the end of every complete bgzip file
_BGZF_EOF = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


class SequenceFile:
    """An opened sequence file: iterate over its pieces; ``position`` of ``size`` compressed bytes are read.

    Parameters
    ----------
    path
        FASTA, GenBank or EMBL file, or a GFF3 that ends in its sequences, plain, gzip (of any number of members), bgzip
        or zstd; or a .2bit file.

    Raises
    ------
    SequenceError
        The path is missing, a folder, unreadable or empty, the format is unknown, or (on iteration) the
        compressed data or the GenBank record is damaged.
    """

    def __init__(self, path: Path):
        self.path = path
        if not path.exists():
            raise SequenceError(f"{path}: no such file; give a FASTA or GenBank file")
        if not path.is_file():
            raise SequenceError(f"{path}: is not a file; give a FASTA or GenBank file")
        with raising(SequenceError, f"{path}: cannot be read; check its permissions", OSError):
            self._raw = path.open("rb")
        self.size = path.stat().st_size
        try:
            self._compression = compression(self._raw)
            self._stream = self._decompressed()
            self.format = self._detect()
        except BaseException:
            self._raw.close()
            raise

    def __enter__(self) -> "SequenceFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    @property
    def position(self) -> int:
        """Bytes of the file read so far, of ``size``."""
        return self._raw.tell()

    def __iter__(self) -> Iterator[Piece]:
        """Return the pieces of the file in order."""
        with self._stream_errors():
            if twobit := self.twobit():
                yield from twobit
            elif self.format in ("genbank", "embl"):
                yield from self._annotated()
            else:
                yield from self._fasta(self._skip_annotation() if self.format == "gff3" else b"")

    @property
    def is_compressed(self) -> bool:
        """Whether the file is gzip or zstd."""
        return self._compression is not None

    def twobit(self) -> TwoBitFile | None:
        """Return the file as one of .2bit, whose sequences can be read in any order; None where it is another.

        Raises
        ------
        SequenceError
            If it is damaged.
        """
        return TwoBitFile(self._raw, self.path, self.size) if self.format == "twobit" else None

    def _decompressed(self) -> BufferedIOBase:
        stream = decompressed(self._raw)
        # the extra field BC marks bgzip; cut between two of its blocks, the file would still be valid gzip
        if stream is not self._raw and self._raw.peek(18)[12:14] == b"BC":
            self._raw.seek(-min(len(_BGZF_EOF), self.size), 2)
            if self._raw.read() != _BGZF_EOF:
                raise SequenceError(f"{self.path}: bgzip file without its end-of-file block: truncated; get it again")
            self._raw.seek(0)
        return stream

    def _detect(self) -> str:
        with self._stream_errors():
            head = b""
            first = chunk = self._stream.read(4096)
            mark = BOM_UTF8 if first.startswith(BOM_UTF8) else b""
            chunk = chunk.removeprefix(mark)
            while chunk and not (head := chunk.lstrip()):
                chunk = self._stream.read(4096)
        if not head:
            raise SequenceError(f"{self.path}: the file is empty; give a FASTA or GenBank file")
        if is_twobit(first):  # not behind white space, which only text may begin with
            if self.is_compressed:
                raise SequenceError(f"{self.path}: a .2bit file within {self._compression}: unpack it first")
            return "twobit"
        self._raw.seek(0)
        self._stream = decompressed(self._raw)
        self._stream.read(len(mark))
        for start, name in _FORMATS.items():
            if head.startswith(start):
                return name
        raise SequenceError(
            f"{self.path}: not a sequence file: FASTA starts with '>', GenBank with LOCUS, but this with {head[:12]!r}"
        )

    @contextmanager
    def _stream_errors(self) -> Iterator[None]:
        try:
            yield
        except EOFError as error:
            raise SequenceError(f"{self.path}: truncated {self._compression} file; get it again") from error
        except READ_ERRORS as error:
            raise SequenceError(f"{self.path}: damaged or unreadable file ({error}); get it again") from error

    def _skip_annotation(self) -> bytes:
        """Return the first line of the sequences of a GFF3, whose pragma ``##FASTA`` some programs leave out."""
        line = next((line for line in self._stream if line.startswith(b">")), None)
        if line is None:
            raise SequenceError(f"{self.path}: this GFF3 holds no sequence; give the FASTA file that it annotates")
        return line

    def _fasta(self, first: bytes) -> Iterator[Piece]:
        # parts of the header line that is being read: it may go on in the next chunk
        header: list[bytes] | None = None
        at_line_start = True
        while chunk := first or self._stream.read(_CHUNK):
            first = b""
            position = 0
            while position < len(chunk):
                if header is not None:
                    line_end = _LINE_END.search(chunk, position)
                    stop = line_end.start() if line_end else len(chunk)
                    header.append(chunk[position:stop])
                    position = stop
                    if line_end:
                        yield b"".join(header).decode("utf-8", "replace"), b""
                        header = None
                else:
                    stop = _next_record(chunk, position, at_line_start)
                    if letters := chunk[position:stop].translate(None, _WHITESPACE):
                        yield None, letters
                    if stop < len(chunk):
                        header = []
                    position = stop + 1
            at_line_start = chunk[-1:] in b"\r\n"
        if header is not None:
            yield b"".join(header).decode("utf-8", "replace"), b""

    def _annotated(self) -> Iterator[Piece]:
        from Bio import BiopythonWarning
        from Bio.GenBank.Scanner import EmblScanner, GenBankScanner
        from Bio.Seq import UndefinedSequenceError

        # the scanners below SeqIO can leave out the features, which take most of the time and memory
        scanner = {"genbank": GenBankScanner, "embl": EmblScanner}[self.format]()
        text = TextIOWrapper(self._stream, encoding="utf-8", errors="replace")  # type: ignore[type-var]
        records = scanner.parse_records(text, do_features=False)
        name = ""
        try:
            # a sequence of another length than its LOCUS line says is damaged: Biopython only warns
            for record in strictly(records, "Expected sequence length"):
                name = record.id
                letters = bytes(record.seq).upper()
                yield f"{record.id} {record.description}", b""
                yield from ((None, letters[i : i + _CHUNK]) for i in range(0, len(letters), _CHUNK))
        except UndefinedSequenceError as error:
            raise SequenceError(
                f"{self.path}: record {name} has no sequence; download the file with its sequence"
            ) from error
        except (*BIOPYTHON_ERRORS, BiopythonWarning) as error:
            raise SequenceError(f"{self.path}: damaged {self.format} file ({error}); get it again") from error
        finally:
            # the wrapper would close the file as soon as it is collected
            text.detach()


def strictly(records: Iterator[Any], error: str, *, ignored: str | None = None) -> Iterator[Any]:
    """Yield Biopython's records; a warning that begins with ``error`` is one, and with ``ignored`` is left out."""
    while True:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=error)
            if ignored is not None:
                warnings.filterwarnings("ignore", message=ignored)
            record = next(records, None)
        if record is None:
            return
        yield record


def _next_record(chunk: bytes, start: int, at_line_start: bool) -> int:
    """Find the next '>' that begins a line; the chunk's length if there is none."""
    position = chunk.find(b">", start)
    while position > 0 and chunk[position - 1] not in b"\r\n" or position == 0 and not at_line_start:
        position = chunk.find(b">", position + 1)
    return position if position >= 0 else len(chunk)


def read_fai(path: Path) -> list[tuple[str, int]] | None:
    """Read names and lengths in bp from the ``.fai`` index beside a FASTA file; None where there is no index.

    Raises
    ------
    SequenceError
        A line does not hold a name and a length.
    """
    index = path.with_name(path.name + ".fai")
    if not index.is_file():
        return None
    entries = []
    for number, line in enumerate(index.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        fields = line.split("\t")
        if len(fields) < 2 or not fields[1].isdigit():
            raise SequenceError(f"{index}:{number}: not a line of a FASTA index; remove the file or run samtools faidx")
        entries.append((fields[0], int(fields[1])))
    return entries
