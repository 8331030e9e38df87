"""UCSC's .2bit files: four bases a byte, with the runs of N and the soft-masked runs listed beside them.

References
----------
https://genome.ucsc.edu/FAQ/FAQformat.html#format7
"""

import itertools
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8

from dnar2mae.errors import SequenceError
from dnar2mae.genome.intervals import Intervals, intervals_of, union

SIGNATURE = 0x1A412743
_SIGNATURES = {SIGNATURE.to_bytes(4, "little"): "<", SIGNATURE.to_bytes(4, "big"): ">"}
_CHUNK_BP = 1 << 20
_LOWER = 0x20
# the letters of each byte, the first base in its highest bits
_LETTERS = np.array([[b"TCAG"[byte >> shift & 3] for shift in (6, 4, 2, 0)] for byte in range(256)], np.uint8)


class _Record(NamedTuple):
    """Where the bases of a sequence lie, and what they are not."""

    size: int
    unknown: Intervals
    masked: Intervals
    offset: int
    """Of the packed bases in the file."""


def is_twobit(head: bytes) -> bool:
    """Return whether these are the first bytes of a .2bit file."""
    return head[:4] in _SIGNATURES


class TwoBitFile:
    """The sequences of an opened .2bit file, of version 0 or 1, in either byte order.

    Parameters
    ----------
    raw
        The file, opened for reading bytes.
    path
        Its path, for messages.
    size
        Its size in bytes.

    Raises
    ------
    SequenceError
        The file is cut short, or its version is unknown.
    """

    def __init__(self, raw: BufferedReader, path: Path, size: int) -> None:
        self._raw, self._path, self._size = raw, path, size
        self._order = ">"
        raw.seek(0)
        self._order = _SIGNATURES[raw.read(4)]
        version, count, _ = self._numbers(3).tolist()
        if version > 1:
            raise SequenceError(f"{path}: a .2bit file of version {version}; 0 and 1 are known")
        self.offsets: dict[str, int] = {}
        """Where the record of each sequence lies, by name, in the file's order."""
        for _ in range(count):
            name = self._bytes(self._bytes(1)[0]).decode("utf-8", "replace")
            if name in self.offsets:
                raise SequenceError(f"{path}: the name {name!r} occurs twice; each sequence needs its own")
            # version 1 has room for files of more than 4 GB
            (self.offsets[name],) = self._numbers(1, "u8" if version else "u4").tolist()

    def __iter__(self) -> Iterator[tuple[str | None, bytes]]:
        """Yield the pieces of a :class:`dnar2mae.genome.readers.SequenceFile`."""
        for name in self.offsets:
            yield name, b""
            record = self.record(name)
            for start in range(0, record.size, _CHUNK_BP):
                yield None, self.letters(record, start, min(start + _CHUNK_BP, record.size)).tobytes()

    def record(self, name: str) -> _Record:
        """Read the description of a sequence.

        Raises
        ------
        SequenceError
            The file is cut short, or a run goes beyond the sequence's end.
        """
        # beyond any file: a number of 64 bits may be negative here
        self._raw.seek(self.offsets[name] if self.offsets[name] >= 0 else self._size)
        (size,) = self._numbers(1).tolist()
        unknown, masked = self._runs(name, size), self._runs(name, size)
        self._numbers(1)
        return _Record(size, unknown, masked, self._raw.tell())

    def _runs(self, name: str, size: int) -> Intervals:
        (count,) = self._numbers(1).tolist()
        starts, lengths = self._numbers(count), self._numbers(count)
        if (starts + lengths > size).any():
            raise SequenceError(f"{self._path}: damaged: a run of {name} goes beyond its {size} bp; get it again")
        return union(intervals_of(starts, starts + lengths))

    def letters(self, record: _Record, start: int, end: int) -> UInt8[np.ndarray, " L"]:
        """Return the letters of a stretch, 0-based and half-open, as ASCII codes; soft-masked ones in lower case.

        Raises
        ------
        SequenceError
            The file is cut short.
        """
        first = start // 4
        self._raw.seek(record.offset + first)
        packed = np.frombuffer(self._bytes(-(-end // 4) - first), np.uint8)
        letters = _LETTERS[packed].reshape(-1)[start - 4 * first :][: end - start]
        for left, right in _within(record.unknown, start, end):
            letters[left:right] = ord("N")
        for left, right in _within(record.masked, start, end):
            letters[left:right] |= _LOWER
        return letters

    def _numbers(self, count: int, kind: str = "u4") -> Int64[np.ndarray, " N"]:
        width = int(kind[1])
        return np.frombuffer(self._bytes(width * count), self._order + kind).astype(np.int64)

    def _bytes(self, count: int) -> bytes:
        # a damaged file may ask for more than there is memory
        content = self._raw.read(count) if count <= self._size else b""
        if len(content) < count:
            raise SequenceError(f"{self._path}: truncated .2bit file; get it again")
        return content


def _within(runs: Intervals, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of sorted, disjoint runs that lie in a stretch, from its start on."""
    first = int(np.searchsorted(runs[:, 1], start, side="right"))
    for left, right in itertools.takewhile(lambda run: run[0] < end, runs[first:].tolist()):
        yield max(left - start, 0), min(right, end) - start
