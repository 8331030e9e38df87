"""A genome in memory-mapped form: every base of every sequence, a byte each, in one array."""

import hashlib
import mmap
import os
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from dnar2mae.errors import SequenceError
from dnar2mae.genome.alphabet import complement, decode
from dnar2mae.genome.build import GenomeIndex, cached, in_memory
from dnar2mae.genome.intervals import Intervals
from dnar2mae.genome.names import AssemblyReport, other_names, unknown_name
from dnar2mae.genome.regions import region_pieces, split_regions
from dnar2mae.storage.compressed import without_compression
from dnar2mae.storage.fingerprint import of_cache, of_values
from dnar2mae.storage.remote import local_path

_RESIDENT_BYTES = 256 << 20
"""A larger genome is never wholly in the process's memory, only in the system's page cache."""


class Genome:
    """A genome, opened with ``Genome.open``.

    Attributes
    ----------
    path : Path
        The sequence file.
    names : tuple of str
        Sequence names (first word of the header) in the file's order.
    lengths : int64 [S]
        Sequence lengths in bp.
    offsets : int64 [S + 1]
        Where each sequence starts in concatenated coordinates; the last entry is ``total_bp``.
    intervals : int64 [K, 2]
        The extents of the sequences that are not empty, in concatenated coordinates.
    n_runs : int64 [R, 2]
        Maximal runs of unknown bases in concatenated coordinates, sorted, none across two sequences.
    report : AssemblyReport or None
        Other names of its sequences.
    index : dict of str to int
        Sequence index by name.
    """

    def __init__(self, index: GenomeIndex, bases: UInt8[np.ndarray, " N"], n_runs: Intervals):
        self._index, self._bases, self.n_runs = index, bases, n_runs
        self.path = Path(index.source)
        self.names = tuple(index.names)
        self.index = {name: i for i, name in enumerate(self.names)}
        self.lengths = np.array(index.lengths, np.int64)
        self.offsets = np.append(0, np.cumsum(self.lengths))
        self.intervals = np.column_stack([self.offsets[:-1], self.offsets[1:]])[self.lengths > 0]
        self.report: AssemblyReport | None = None

    @classmethod
    def open(cls, path: str | Path, *, cache_dir: str | Path | None = None, progress: bool = True) -> "Genome":
        """Open a FASTA, GenBank, EMBL or .2bit file: read once, memory-mapped from then on.

        Parameters
        ----------
        path
            The sequence file, or its address: see :func:`dnar2mae.storage.remote.local_path`. The cache is built anew
            when its size or modification time changes. All of the cache is checked against its checksums here (about a
            second for a gigabase). Regions behind the path (``genome.fa:chr1:1001-2000``, from 1 and with the end) are
            read into memory, each a sequence of that name, and no cache is built.
        cache_dir
            Where caches live; by default ``$DNAR2MAE_CACHE``, else ``~/.cache/dnar2mae``.
        progress
            Show a progress bar on a terminal when reading takes over a second.

        Raises
        ------
        SequenceError
            The file is missing, damaged or no nucleotide sequence, disagrees with the ``.fai`` index beside
            it, or the cache cannot be written or may be another user's work. Nothing is left behind. A region breaks
            its rule, is of an unknown sequence or goes beyond its end.

        Warns
        -----
        UserWarning
            A sequence is empty (it is kept, with length 0), the cache is damaged and built anew, or the index
            beside the file is not used for a region.
        """
        regions = split_regions(path)
        if regions is not None:
            return cls(*in_memory(Path(path), region_pieces(*regions)))
        return CachedGenome(*cached(local_path(path), cache_dir=cache_dir, progress=progress))

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.names)

    @property
    def total_bp(self) -> int:
        """Sum of the sequences' lengths in bp."""
        return len(self._bases)

    @property
    def stem(self) -> str:
        """The file's name without ``.gz`` and the format's suffix."""
        name = without_compression(self.path.name)
        return name.rpartition(".")[0] or name

    def codes(self, name: str, start: int, end: int) -> UInt8[np.ndarray, " L"]:
        """Return the codes (see ``alphabet``) of ``[start, end)`` of a sequence as a read-only view.

        Raises
        ------
        SequenceError
            The name is unknown or the coordinates are not inside the sequence.
        """
        return self.span(*self.concatenated(name, start, end))

    def concatenated(self, name: str, start: int, end: int) -> tuple[int, int]:
        """Return ``[start, end)`` of a sequence in concatenated coordinates; raises as :meth:`codes`."""
        if name not in self.index:
            raise SequenceError(self.unknown(name))
        sequence = self.index[name]
        if not 0 <= start <= end <= self.lengths[sequence]:
            raise SequenceError(
                f"{self.path}: coordinates of {name} need 0 <= start <= end <= {self.lengths[sequence]} "
                f"(0-based, half-open), got {start}-{end}"
            )
        offset = int(self.offsets[sequence])
        return offset + start, offset + end

    def fetch(self, name: str, start: int, end: int, strand: str = "+") -> str:
        """Return the letters of ``[start, end)``, lower case kept; the reverse complement for strand ``-``.

        Raises
        ------
        SequenceError
            The name is unknown, the coordinates are not inside the sequence, or the strand is neither + nor
            -.
        """
        codes = self.codes(name, start, end)
        if strand not in ("+", "-"):
            raise SequenceError(f"{self.path}: a strand is + or -, got {strand!r}")
        return decode(complement(codes[::-1]) if strand == "-" else codes)

    def span(self, start: int, end: int) -> UInt8[np.ndarray, " L"]:
        """Return the codes of ``[start, end)`` in concatenated coordinates as a read-only view."""
        return self._bases[start:end]

    def windows(self, starts: Int64[np.ndarray, " B"], window_bp: int) -> UInt8[np.ndarray, "B L"]:
        """Copy the windows that start at these concatenated coordinates."""
        return np.lib.stride_tricks.sliding_window_view(self._bases, window_bp)[starts]

    def sequence_of(self, positions: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
        """Return the index of the sequence that holds each concatenated coordinate."""
        return np.searchsorted(self.offsets[1:], positions, side="right")

    def summary(self) -> dict[str, int | float]:
        """Return the size, and shares in [0, 1]: unknown and soft-masked of all bases, G + C of the known ones."""
        letters = self._index.letters
        known = self.total_bp - letters["N"]
        return {
            "total_bp": self.total_bp,
            "num_sequences": len(self),
            "n_share": letters["N"] / self.total_bp,
            "soft_masked_share": self._index.soft_masked / self.total_bp,
            "gc_share": (letters["G"] + letters["C"]) / known,
        }

    def fingerprint(self) -> str:
        """Return a digest of names, lengths and bases of the sequences; where the file lies does not matter."""
        return of_values(self.names, self.lengths.tolist(), self._digest())

    def _digest(self) -> str:
        return hashlib.sha256(self._bases.tobytes()).hexdigest()

    def find(self, name: str) -> str | None:
        """Return the name here of a sequence that another file may call differently; None where there is none."""
        if name in self.index:  # what nearly every line of a file says
            return name
        return next((alias for alias in other_names(name, self.report) if alias in self.index), None)

    def unknown(self, name: str) -> str:
        """Return the message that no sequence has this name, and which ones may have been meant."""
        return unknown_name(self.path, name, self.names, self.index)


class CachedGenome(Genome):
    """A genome whose bases stay on disk."""

    def __init__(self, folder: Path, index: GenomeIndex):
        self._folder = folder
        self._file = os.open(folder / "bases.u8", os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        self._map = mmap.mmap(self._file, 0, access=mmap.ACCESS_READ)
        self._touched_bytes = 0
        super().__init__(index, np.frombuffer(self._map, np.uint8), np.load(folder / "n_runs.npy"))

    def __reduce__(self) -> tuple:
        """Pickle as a reference to the cache: a worker process maps the same file."""
        return _reopen, (self._folder, self._index)

    def span(self, start: int, end: int) -> UInt8[np.ndarray, " L"]:
        """Return the codes of ``[start, end)`` in concatenated coordinates as a read-only view."""
        self._touched_bytes += end - start
        if self._touched_bytes > _RESIDENT_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            # views stay valid: their pages are mapped again when touched
            self._map.madvise(mmap.MADV_DONTNEED)
            self._touched_bytes = 0
        return super().span(start, end)

    def windows(self, starts: Int64[np.ndarray, " B"], window_bp: int) -> UInt8[np.ndarray, "B L"]:
        """Copy the windows that start at these concatenated coordinates."""
        if self.total_bp <= _RESIDENT_BYTES or not hasattr(os, "pread"):
            return super().windows(starts, window_bp)
        # reading is quicker than mapping a page and its neighbours for each window, and leaves none behind
        rows = b"".join([os.pread(self._file, window_bp, start) for start in starts.tolist()])
        return np.frombuffer(bytearray(rows), np.uint8).reshape(len(starts), window_bp)

    def _digest(self) -> str:
        return of_cache(self._folder)


def open_genomes(paths: Iterable[str | Path], assembly_report: str | Path | None = None) -> tuple[Genome, ...]:
    """Open genomes, and let them know the names that an assembly report gives to their sequences.

    Parameters
    ----------
    paths
        As for :meth:`Genome.open`.
    assembly_report
        NCBI's ``*_assembly_report.txt`` of one of them.

    Raises
    ------
    SequenceError
        A genome or the report cannot be read, or the report is of none of them.
    """
    genomes = tuple(map(Genome.open, paths))
    if assembly_report is not None:
        give_names(genomes, assembly_report)
    return genomes


def give_names(genomes: Sequence[Genome], assembly_report: str | Path) -> None:
    """Let genomes know the names of an assembly report; see :func:`open_genomes`."""
    report = AssemblyReport(assembly_report)
    named = [g for g in genomes if report.is_of(dict(zip(g.names, g.lengths.tolist(), strict=True)))]
    if not named:
        raise SequenceError(f"{assembly_report}: names no sequence of {', '.join(str(g.path) for g in genomes)}")
    for genome in named:
        genome.report = report


def _reopen(folder: Path, index: GenomeIndex) -> Genome:
    if not folder.is_dir() or GenomeIndex.load(folder) != index:
        raise SequenceError(f"{index.source}: its cache {folder} was removed or rebuilt during the run; start again")
    return CachedGenome(folder, index)
