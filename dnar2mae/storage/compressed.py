"""Files that may be gzip, which their first bytes show: a name can be wrong."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase, BufferedReader, TextIOWrapper
from pathlib import Path
from typing import Any, TextIO, cast

READ_ERRORS = (OSError, EOFError, zlib.error)
"""Errors of reading such a file where it is missing, cut short or damaged."""
_MAGIC = b"\x1f\x8b"


def decompressed(raw: BufferedReader) -> BufferedIOBase:
    """Return the content of an opened file as a stream: the file itself, or its decompressed bytes."""
    return gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == _MAGIC else raw


@contextmanager
def open_maybe_gzip(path: Path) -> Iterator[BufferedIOBase]:
    """Open a file, plain or gzip, for reading bytes."""
    with path.open("rb") as raw, decompressed(raw) as stream:
        yield stream


@contextmanager
def open_maybe_gzip_text(path: Path, *, errors: str = "strict", newline: str | None = None) -> Iterator[TextIO]:
    """Open a file, plain or gzip, for reading UTF-8, with or without a byte order mark.

    ``errors`` and ``newline`` are as for ``open``.
    """
    with (
        open_maybe_gzip(path) as stream,
        TextIOWrapper(cast(Any, stream), encoding="utf-8-sig", errors=errors, newline=newline) as text,
    ):
        yield text
