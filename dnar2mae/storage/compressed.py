"""Files that may be gzip or zstd, which their first bytes show: a name can be wrong."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase, BufferedReader, RawIOBase, TextIOWrapper
from pathlib import Path
from typing import Any, TextIO, cast

from dnar2mae.errors import needing

READ_ERRORS = (OSError, EOFError, zlib.error)
"""Errors of reading such a file where it is missing, cut short or damaged."""
_SUFFIXES = (".gz", ".bgz", ".zst")
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# pzstd and zstd's seekable format begin with a frame to skip, whose first byte is any of 50 to 5f
_ZSTD_SKIPPED = b"\x2a\x4d\x18"
# decompressed at once: zstd can pack 32 KiB in a byte, so that more could fill the memory
_PIECE = 4096


def compression(raw: BufferedReader) -> str | None:
    """Return how an opened file is compressed, ``gzip`` or ``zstd``, by its first bytes; None where it is not."""
    head = raw.peek(4)[:4]
    if head.startswith(_GZIP):
        return "gzip"
    is_zstd = head == _ZSTD or (head[1:] == _ZSTD_SKIPPED and head[0] >> 4 == 5)
    return "zstd" if is_zstd else None


def decompressed(raw: BufferedReader) -> BufferedIOBase:
    """Return the content of an opened file as a stream: the file itself, or its decompressed bytes.

    Raises
    ------
    ConfigError
        If it is zstd, and the package zstandard is missing.
    """
    kind = compression(raw)
    if kind == "zstd":
        return BufferedReader(_ZstdFrames(raw), 1 << 17)
    return gzip.GzipFile(fileobj=raw) if kind == "gzip" else raw


def without_compression(name: str) -> str:
    """Return a file's name without the suffix of its compression, so that the format's suffix comes last."""
    return next((name[: -len(suffix)] for suffix in _SUFFIXES if name.lower().endswith(suffix)), name)


@contextmanager
def open_maybe_gzip(path: Path) -> Iterator[BufferedIOBase]:
    """Open a file, plain, gzip or zstd, for reading bytes."""
    with path.open("rb") as raw, decompressed(raw) as stream:
        yield stream


@contextmanager
def open_maybe_gzip_text(path: Path, *, errors: str = "strict", newline: str | None = None) -> Iterator[TextIO]:
    """Open a file, plain, gzip or zstd, for reading UTF-8, with or without a byte order mark.

    ``errors`` and ``newline`` are as for ``open``.
    """
    with (
        open_maybe_gzip(path) as stream,
        TextIOWrapper(cast(Any, stream), encoding="utf-8-sig", errors=errors, newline=newline) as text,
    ):
        yield text


class _ZstdFrames(RawIOBase):
    """The content of a zstd file, all frames in a row.

    The package's own reader takes a file that is cut short for a complete one; this raises ``EOFError``, and
    ``OSError`` where the file is damaged.
    """

    def __init__(self, raw: BufferedReader) -> None:
        with needing(f"{raw.name}: a zstd file", "zstandard", "dnar2mae[zstd]"):
            from zstandard import ZstdDecompressor, ZstdError
        self._raw, self._decompressor, self._error = raw, ZstdDecompressor(), ZstdError
        self._frame: Any = None
        self._pending = b""
        """Decompressed bytes that were not read yet."""

    def readable(self) -> bool:
        """Return True: it is read only."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the next piece goes, and return the number of bytes; 0 at the end."""
        while not self._pending:
            piece = self._raw.read(_PIECE)
            if not piece:
                if self._frame is not None:
                    raise EOFError("the zstd file ends within a frame")
                return 0
            self._pending = self._decompress(piece)
        count = min(len(buffer), len(self._pending))
        buffer[:count], self._pending = self._pending[:count], self._pending[count:]
        return count

    def _decompress(self, piece: bytes) -> bytes:
        parts = []
        try:
            while piece:
                self._frame = self._frame or self._decompressor.decompressobj()
                parts.append(self._frame.decompress(piece))
                if not self._frame.eof:
                    break
                piece, self._frame = self._frame.unused_data, None
        except self._error as error:
            raise OSError(f"damaged zstd file: {error}") from error
        return b"".join(parts)
