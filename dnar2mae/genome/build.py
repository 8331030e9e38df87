"""The cache of a genome: written in one streaming pass, moved into place whole, rebuilt when its source changes."""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from io import BufferedWriter, BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from dnar2mae.errors import SequenceError
from dnar2mae.genome.alphabet import SOFT_MASK, UNKNOWN, encode
from dnar2mae.genome.intervals import Intervals, intersection, intervals_of, union
from dnar2mae.genome.readers import Piece, SequenceFile, read_fai
from dnar2mae.storage.cache import CacheIndex, cached_folder, default_cache, needing_room, sync
from dnar2mae.storage.progress import progress_bar

FORMAT = 3
"""Version of the cache's layout: raise it when the layout or the meaning of a code changes."""

# letters that are encoded together: lines are far too short for a call each
_FLUSH_BYTES = 1 << 20
# amino acids whose letter is no IUPAC nucleotide letter
_PROTEIN_ONLY = "EFILPQZJO"


@dataclass
class GenomeIndex(CacheIndex):
    """The content of ``index.json``: the source's state when it was read, its sequences and letter counts."""

    source: str
    size: int
    mtime_ns: int
    format: int = FORMAT
    names: list[str] = field(default_factory=list)
    descriptions: list[str] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    letters: dict[str, int] = field(default_factory=lambda: dict.fromkeys("ACGTN", 0))
    soft_masked: int = 0

    @classmethod
    def of(cls, path: Path) -> "GenomeIndex":
        """Make the index of a file that was not read yet."""
        status = path.stat()
        return cls(source=str(path.absolute()), size=status.st_size, mtime_ns=status.st_mtime_ns)

    def is_of(self, path: Path) -> bool:
        """Return whether the file is the one that was read, by path, size and modification time."""
        now = GenomeIndex.of(path)
        return (self.source, self.size, self.mtime_ns) == (now.source, now.size, now.mtime_ns)


def cached(path: Path, *, cache_dir: str | Path | None, progress: bool) -> tuple[Path, GenomeIndex]:
    """Return the cache folder of a sequence file and its index; build it where missing, stale or damaged.

    Raises
    ------
    SequenceError
        See ``Genome.open``.
    """
    # a missing or unreadable source is an error even if an old cache is there
    with SequenceFile(path):
        pass
    # the whole path counts: files of one name in several folders have a cache each
    key = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:16]
    folder = Path(cache_dir or default_cache()) / "genomes" / f"{path.name}-{key}"

    def load(folder: Path) -> GenomeIndex | None:
        index = GenomeIndex.load(folder)
        return index if index is not None and index.is_of(path) else None

    with needing_room(folder, path, "about a byte a base", SequenceError):
        return folder, cached_folder(folder, load, lambda scratch: _build(path, scratch, progress))


def in_memory(path: Path, pieces: Iterable[Piece]) -> tuple[GenomeIndex, UInt8[np.ndarray, " N"], Intervals]:
    """Return the index of these pieces of a file, the codes of their bases, and the runs of unknown ones.

    Raises
    ------
    SequenceError
        A letter is no nucleotide code, or no base is known.
    """
    index, bases = GenomeIndex(source=str(path), size=0, mtime_ns=0), BytesIO()
    n_runs = _GenomePass(path, index, bases).run(pieces)
    _check_known(path, index)
    return index, np.frombuffer(bases.getbuffer(), np.uint8), n_runs


def _build(path: Path, scratch: Path, progress: bool) -> GenomeIndex:
    index = GenomeIndex.of(path)
    with (
        (scratch / "bases.u8").open("wb") as bases,
        SequenceFile(path) as source,
        progress_bar(f"Reading {path.name}", source.size, show=progress, unit="B") as update,
    ):
        n_runs = _GenomePass(path, index, bases).run(source, lambda: update(source.position))
        sync(bases)
    # after the pass: the file may have changed during it
    _check(path, index)
    with (scratch / "n_runs.npy").open("wb") as file:
        np.save(file, n_runs)
        sync(file)
    index.save(scratch)
    return index


class _GenomePass:
    """The one pass over a sequence file: writes the codes, fills the index, finds the runs of N."""

    def __init__(self, path: Path, index: GenomeIndex, bases: BufferedWriter | BytesIO):
        self.path, self.index, self.bases = path, index, bases
        self.pending: list[bytes] = []
        self.pending_bp = 0
        self.written_bp = 0
        self.runs = [np.empty((0, 2), np.int64)]

    def run(self, pieces: Iterable[Piece], advance: Callable[[], object] = lambda: None) -> Intervals:
        index, seen = self.index, set[str]()
        for header, letters in pieces:
            if header is not None:
                name, *description = header.split(maxsplit=1) or [""]
                if not name or name in seen:
                    problem = f"the name {name!r} occurs twice" if name else "a header without a name"
                    raise SequenceError(f"{self.path}: sequence {len(seen) + 1}: {problem}; each needs its own")
                seen.add(name)
                index.names.append(name)
                index.descriptions.append("".join(description))
                index.lengths.append(0)
            if not index.lengths:
                raise SequenceError(f"{self.path}: {letters[:12]!r} stands before the first line with '>'")
            index.lengths[-1] += len(letters)
            self.pending.append(letters)
            self.pending_bp += len(letters)
            if self.pending_bp >= _FLUSH_BYTES:
                self.flush()
                advance()
        self.flush()
        offsets = np.append(0, np.cumsum(index.lengths))
        # the union joins runs that a flush cut; the intersection cuts those that go on in the next sequence
        return intersection(union(np.concatenate(self.runs)), intervals_of(offsets[:-1], offsets[1:]))

    def flush(self) -> None:
        letters = b"".join(self.pending)
        codes = encode(letters)
        if codes.max(initial=0) > SOFT_MASK + UNKNOWN:
            raise self.illegal(letters, int(np.argmax(codes > SOFT_MASK + UNKNOWN)))
        upper = codes & (SOFT_MASK - 1)
        counts = {letter: int(np.count_nonzero(upper == code)) for code, letter in enumerate("ACGTN")}
        for letter, count in counts.items():
            self.index.letters[letter] += count
        self.index.soft_masked += int(np.count_nonzero(codes & SOFT_MASK))
        if counts["N"]:
            edges = np.flatnonzero(np.diff(upper == UNKNOWN, prepend=False, append=False)) + self.written_bp
            self.runs.append(intervals_of(edges[::2], edges[1::2]))
        self.bases.write(codes.data)
        self.written_bp += len(codes)
        self.pending, self.pending_bp = [], 0

    def illegal(self, letters: bytes, at: int) -> SequenceError:
        ends = np.cumsum(self.index.lengths)
        sequence = int(np.searchsorted(ends, self.written_bp + at, side="right"))
        position = self.written_bp + at - int(ends[sequence]) + self.index.lengths[sequence] + 1
        letter = chr(letters[at])
        bases = sum(map(letters.upper().count, (b"A", b"C", b"G", b"T", b"U", b"N")))
        # of a protein about a fourth; one such letter among bases is damage
        if letter.upper() in _PROTEIN_ONLY and 2 * bases < len(letters):
            what = "it looks like protein; give a nucleotide sequence"
        elif letter in "-.*":
            what = "gaps belong to alignments; give the sequence without them"
        else:
            what = "only IUPAC nucleotide letters may stand there; get the file again if it is damaged"
        return SequenceError(
            f"{self.path}: sequence {self.index.names[sequence]} has {letter!r} at base {position}: {what}"
        )


def _check_known(path: Path, index: GenomeIndex) -> None:
    if index.letters["N"] == sum(index.lengths):
        raise SequenceError(f"{path}: the file holds no known base (A, C, G or T); give another one")


def _check(path: Path, index: GenomeIndex) -> None:
    if not index.is_of(path):
        raise SequenceError(f"{path}: the file changed while it was read; try again when it is complete")
    _check_known(path, index)
    read = [(name, length) for name, length in zip(index.names, index.lengths, strict=True) if length]
    fai = read_fai(path)
    listed = [entry for entry in fai if entry[1]] if fai is not None else read
    if read != listed:
        here, there = next(
            (pair for pair in zip(read, listed, strict=False) if pair[0] != pair[1]),
            (f"{len(read)} sequences", f"{len(listed)} sequences"),
        )
        raise SequenceError(
            f"{path}: the index {path.name}.fai lists {there}, the file holds {here}: the file "
            "is truncated (get it again) or the index is old (run samtools faidx)"
        )
    empty = [name for name, length in zip(index.names, index.lengths, strict=True) if not length]
    if empty:
        shown = ", ".join(empty[:5]) + (", ..." if len(empty) > 5 else "")
        # the eighth frame from here is the caller of Genome.open
        warnings.warn(f"{path}: {len(empty)} of {len(index.names)} sequences are empty: {shown}", stacklevel=8)
