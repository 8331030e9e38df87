"""Regions of a sequence file, named behind its path as samtools does: ``genome.fa:chr1:1001-2000``."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dnar2mae.errors import SequenceError, raising
from dnar2mae.genome.names import aliases, unknown_name
from dnar2mae.genome.readers import Piece, SequenceFile
from dnar2mae.genome.twobit import TwoBitFile
from dnar2mae.storage.remote import is_remote, local_path
from dnar2mae.storage.safe_files import split_at_file

_RULE = "a region is NAME, NAME:START- or NAME:START-END, from 1 and with its end (several with commas between)"
_SPAN = re.compile(r"(?P<name>.+):(?P<start>\d+)-(?P<end>\d*)")
# the rest of a number with thousands separators, which samtools takes, too
_THOUSANDS = re.compile(r"\d{3}(-\d*)?")
_FORMATS = r"(?:fa|fna|fas|fsa|fasta|ffn|gb|gbk|gbff|embl|2bit)(?:\.gz|\.bgz|\.zst)?"
# an address has colons of its own: a region stands behind the name of a sequence file only
_ADDRESS = re.compile(rf"(.*\.{_FORMATS}):(.*)")


@dataclass(frozen=True, slots=True)
class SequenceRegion:
    """A stretch of a sequence, 0-based and half-open."""

    text: str
    """As it was written."""
    name: str
    start: int = 0
    end: int | None = None
    """None: the sequence's end."""

    @classmethod
    def parse(cls, text: str) -> "SequenceRegion":
        """Read ``NAME``, ``NAME:START-`` or ``NAME:START-END``, of which the numbers count from 1.

        Raises
        ------
        SequenceError
            The text is empty, the start 0, or the end before the start.
        """
        span = _SPAN.fullmatch(text)
        if span is None:
            if not text:
                raise SequenceError(f"{_RULE}, got nothing")
            return cls(text, text)
        start, end = int(span["start"]) - 1, int(span["end"]) if span["end"] else None
        if start < 0 or (end is not None and end <= start):
            raise SequenceError(f"{_RULE}, got {text}")
        return cls(text, span["name"], start, end)

    def within(self, length: int, path: Path) -> tuple[int, int]:
        """Return start and end in a sequence of this length.

        Raises
        ------
        SequenceError
            It goes beyond the sequence's end.
        """
        end = length if self.end is None else self.end
        if self.start >= length or end > length:
            raise SequenceError(f"{path}: {self.text} goes beyond the end of {self.name}, which has {length:,} bp")
        return self.start, end


def split_regions(path: str | Path) -> tuple[str, list[SequenceRegion]] | None:
    """Divide ``FILE:REGION,REGION,...`` into file and regions; None where there is no region.

    A file whose name has a colon is a file: the longest part of the text that is one counts.

    Raises
    ------
    SequenceError
        A region breaks its rule.
    """
    text = str(path)
    if ":" not in text:
        return None
    if is_remote(text):
        address, mark, pin = text.partition("#")  # the checksum is of the file, wherever it stands
        pin, between, region = pin.partition(":")
        match = _ADDRESS.fullmatch(address + between + region)
        return (match[1] + mark + pin, _parsed(text, match[2])) if match else None
    file, written = split_at_file(text)
    return None if written is None else (file, _parsed(text, written))


def _parsed(path: str, text: str) -> list[SequenceRegion]:
    regions: list[str] = []
    for part in text.split(","):
        if regions and ":" in regions[-1] and _THOUSANDS.fullmatch(part):
            regions[-1] += part
        else:
            regions.append(part)
    with raising(SequenceError, path, SequenceError):
        return [SequenceRegion.parse(region) for region in regions]


def region_pieces(file: str, regions: Sequence[SequenceRegion]) -> Iterator[Piece]:
    """Read regions of a file: by the index of samtools beside it, else by reading up to the last of them.

    Parameters
    ----------
    file
        FASTA (plain, bgzip), GenBank, EMBL or .2bit file.
    regions
        The regions; ``1`` and ``chr1`` are the same sequence, and so are the names of a mitochondrion.

    Yields
    ------
    (str, bytes)
        The name of each region, as it was written, and its letters.

    Raises
    ------
    SequenceError
        The file cannot be read, has no such sequence, or a region goes beyond its end.
    """
    path = local_path(file)
    letters = _of_twobit(path, regions) or _of_index(path, regions) or _of_stream(path, regions)
    for region, part in zip(regions, letters, strict=True):
        yield region.text, b""
        yield None, part


def _of_twobit(path: Path, regions: Sequence[SequenceRegion]) -> list[bytes]:
    """Read from a .2bit file, which is an index itself; nothing from another."""
    with SequenceFile(path) as source:
        twobit = source.twobit()
        return [_cut_from_twobit(twobit, path, region) for region in regions] if twobit else []


def _cut_from_twobit(twobit: TwoBitFile, path: Path, region: SequenceRegion) -> bytes:
    region = _placed(region, list(twobit.offsets), path)
    record = twobit.record(region.name)
    return twobit.letters(record, *region.within(record.size, path)).tobytes()


def _of_index(path: Path, regions: Sequence[SequenceRegion]) -> list[bytes]:
    """Read by pyfaidx; nothing where there is no index that can be used."""
    fai, gzi = (path.with_name(path.name + suffix) for suffix in (".fai", ".gzi"))
    with SequenceFile(path) as source:
        indices = [fai, gzi] if source.is_compressed else [fai]
        if source.format != "fasta" or not all(index.is_file() for index in indices):
            return []
    if any(index.stat().st_mtime < path.stat().st_mtime for index in indices):
        warnings.warn(f"{fai}: older than the file, and not used; run samtools faidx {path}", stacklevel=6)
        return []
    try:
        from pyfaidx import Faidx
    except ImportError:
        warnings.warn(f"{fai}: not used: pip install 'dnar2mae[regions]' for quick reading of regions", stacklevel=6)
        return []
    rule = f"{path}: cannot be read by its index {fai.name}; remove it, or run samtools faidx"
    with raising(SequenceError, rule, Exception), closing(Faidx(str(path), rebuild=False, build_index=False)) as faidx:
        return [_cut_by_index(faidx, path, region) for region in regions]


def _cut_by_index(faidx: Any, path: Path, region: SequenceRegion) -> bytes:
    region = _placed(region, list(faidx.index), path)
    start, end = region.within(faidx.index[region.name].rlen, path)
    letters = str(faidx.fetch(region.name, start + 1, end)).encode("latin-1", "replace")
    if len(letters) != end - start:
        raise ValueError(f"{end - start} bases of {region.text} expected, got {len(letters)}")
    return letters


def _placed(region: SequenceRegion, names: list[str], path: Path) -> SequenceRegion:
    """Return the region under the file's own name of its sequence."""
    known = set(names)
    # a name may look like a region
    if region.text in known:
        return SequenceRegion(region.text, region.text)
    name = next((alias for alias in aliases(region.name) if alias in known), None)
    if name is None:
        raise SequenceError(unknown_name(path, region.name, names, known))
    return replace(region, name=name)


def _of_stream(path: Path, regions: Sequence[SequenceRegion]) -> list[bytes]:
    """Read the file up to where all regions are complete."""
    wanted = [_Wanted(region) for region in regions]
    names: list[str] = []
    with SequenceFile(path) as source:
        for header, letters in source:
            if header is not None:
                names.append((header.split(maxsplit=1) or [""])[0])
                for one in wanted:
                    one.begin(names[-1])
            for one in wanted:
                one.add(letters)
            if all(one.is_complete for one in wanted):
                break
    for one in wanted:
        if not one.is_found:
            raise SequenceError(unknown_name(path, one.region.name, names, set(names)))
    return [one.letters(path) for one in wanted]


class _Wanted:
    """A region that is collected while its file passes by."""

    def __init__(self, region: SequenceRegion) -> None:
        self.region = region
        # the best first: a name may look like a region, and an alias counts until the very name comes
        self._names = (region.text, *aliases(region.name))
        self._rank, self._is_here = len(self._names), False
        self._length, self._parts = 0, list[bytes]()

    @property
    def is_found(self) -> bool:
        """Whether its sequence has begun."""
        return self._rank < len(self._names)

    @property
    def is_complete(self) -> bool:
        """Whether nothing that may still come belongs to it."""
        is_sure = self._rank <= 1
        return is_sure and (not self._is_here if self.region.end is None else self._length >= self.region.end)

    def begin(self, name: str) -> None:
        """Take note that a sequence begins."""
        self._is_here = name in self._names[: self._rank]
        if self._is_here:
            self._rank, self._length, self._parts = self._names.index(name), 0, []
            is_whole = name == self.region.text
            self.region = SequenceRegion(name, name) if is_whole else replace(self.region, name=name)

    def add(self, letters: bytes) -> None:
        """Take from a piece of the sequence what belongs to the region."""
        if self._is_here:
            start, end = self.region.start, self.region.end
            last = len(letters) if end is None else max(end - self._length, 0)
            self._parts.append(letters[max(start - self._length, 0) : last])
            self._length += len(letters)

    def letters(self, path: Path) -> bytes:
        """Return what was collected."""
        self.region.within(self._length, path)
        return b"".join(self._parts)
