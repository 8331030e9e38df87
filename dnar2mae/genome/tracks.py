"""Tracks: a number or a class for each base of a genome, from bigWig, bedGraph, BED or an annotation."""

import math
import warnings
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.genome.annotation import around, read_lines
from dnar2mae.genome.bed import Region, read_regions
from dnar2mae.genome.bigwig import BigWig
from dnar2mae.genome.intervals import Intervals, difference, intersection, union
from dnar2mae.genome.names import some
from dnar2mae.genome.store import Genome
from dnar2mae.storage.compressed import without_compression
from dnar2mae.storage.remote import local_path

_KINDS = {
    **dict.fromkeys((".bw", ".bigwig"), "bigWig"),
    **dict.fromkeys((".bedgraph", ".bdg", ".bg"), "bedGraph"),
    **dict.fromkeys((".bed", ".narrowpeak", ".broadpeak"), "BED"),
    **dict.fromkeys((".gff", ".gff3", ".gtf", ".gb", ".gbk", ".gbff", ".embl"), "annotation"),
}
OUTSIDE = "outside"
"""Name of class 0: bases in no region or feature."""


class Track(ABC):
    """A number or a class for each base of a genome; made by :func:`read_track`.

    Parameters
    ----------
    path
        The file.
    genome
        The genome that its names and coordinates refer to.
    classes
        Names of the classes, whose indices are the values; None where the values are numbers.
    """

    def __init__(self, path: Path, genome: Genome, classes: tuple[str, ...] | None) -> None:
        self.path, self.genome, self.classes = path, genome, classes

    @abstractmethod
    def values(self, name: str, start: int, end: int) -> Float32[np.ndarray, " L"]:
        """Return the values of ``[start, end)`` of a sequence, forward strand.

        Parameters
        ----------
        name
            Sequence, as the genome calls it.
        start, end
            0-based half-open.

        Returns
        -------
        Float32[np.ndarray, " L"]
            NaN where the file has no value; of classes their index, 0 outside of all regions.

        Raises
        ------
        SequenceError
            The name is unknown, the coordinates are not inside the sequence, or the file is damaged there.
        """


class BigWigTrack(Track):
    """A bigWig file, of which only what is asked for is read.

    Parameters
    ----------
    path, genome
        As for :class:`Track`.

    Raises
    ------
    SequenceError
        The file cannot be read, or no name or a length is not the genome's.
    """

    def __init__(self, path: Path, genome: Genome) -> None:
        super().__init__(path, genome, None)
        self._file = BigWig(path)
        self._own_names: dict[str, str] = {}
        unknown = []
        for own, length in self._file.lengths.items():
            name = genome.find(own)
            if name is None:
                unknown.append(own)
                continue
            expected = int(genome.lengths[genome.index[name]])
            if length != expected:
                raise SequenceError(
                    f"{path}: {own} has {length:,} bp, in {genome.path} {expected:,}: a track of another assembly"
                )
            self._own_names.setdefault(name, own)
        _report_unplaced(path, genome, len(self._own_names), Counter(unknown), "sequences")

    def values(self, name: str, start: int, end: int) -> Float32[np.ndarray, " L"]:
        """Return values as :meth:`Track.values`."""
        self.genome.concatenated(name, start, end)  # for its checks: pybigtools takes any coordinates
        if name not in self._own_names:
            return np.full(end - start, np.nan, np.float32)
        return self._file.values(self._own_names[name], start, end)


class IntervalTrack(Track):
    """Values of disjoint intervals.

    Parameters
    ----------
    path, genome, classes
        As for :class:`Track`.
    intervals
        In concatenated coordinates, sorted and disjoint.
    of_intervals
        Value of each.
    """

    def __init__(
        self,
        path: Path,
        genome: Genome,
        intervals: Intervals,
        of_intervals: Float32[np.ndarray, " K"],
        classes: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(path, genome, classes)
        self._starts, self._ends = np.ascontiguousarray(intervals.T)
        self._values = of_intervals

    def values(self, name: str, start: int, end: int) -> Float32[np.ndarray, " L"]:
        """Return values as :meth:`Track.values`."""
        start, end = self.genome.concatenated(name, start, end)
        out = np.full(end - start, np.nan if self.classes is None else 0, np.float32)
        rows = slice(np.searchsorted(self._ends, start, "right"), np.searchsorted(self._starts, end, "left"))
        first = np.maximum(self._starts[rows], start) - start
        sizes = np.maximum(np.minimum(self._ends[rows], end) - start - first, 0)
        # base i of the covered ones lies as far into its interval as it comes after the intervals before
        covered = np.repeat(first - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())
        out[covered] = np.repeat(self._values[rows], sizes)
        return out


def read_track(path: str | Path, genome: Genome, *, features: Sequence[str] = (), by_name: bool = False) -> Track:
    """Open a file of values of a genome's bases; its name tells the format.

    Parameters
    ----------
    path
        bigWig (``.bw``, ``.bigwig``; read as it is needed), bedGraph (``.bedgraph``, ``.bdg``, ``.bg``), BED
        (``.bed``, ``.narrowPeak``, ``.broadPeak``), or GFF3, GTF, GenBank or EMBL; all but bigWig plain or compressed.
    genome
        The genome that its names and coordinates refer to. A sequence that the file calls by another usual name is
        known; see :meth:`.Genome.find`.
    features
        Of an annotation: types of features that are classes 1, 2, ...; where they overlap, the one named first counts.
    by_name
        Of BED: its fourth column is the class, in alphabetical order. Without, class 1 is the inside of any region.

    Raises
    ------
    SequenceError
        The file cannot be read or breaks its format, no name of it is the genome's, a coordinate or length does not
        fit (a track of another assembly), or values contradict each other.
    ConfigError
        The format is none of these, an option is of another format, an annotation lacks the feature, or the package
        pybigtools is missing.

    Warns
    -----
    UserWarning
        Lines or sequences are left out that the genome does not have.
    """
    path = local_path(path)
    name = without_compression(path.name).lower()
    kind = next((kind for suffix, kind in _KINDS.items() if name.endswith(suffix)), None)
    if kind is None:
        raise ConfigError(f"{path}: a track's name ends in {', '.join(_KINDS)} (text also with .gz or .zst)")
    if features and kind != "annotation":
        raise ConfigError(f"{path}: features are of GFF3, GTF, GenBank or EMBL, and this is {kind}")
    if by_name and kind != "BED":
        raise ConfigError(f"{path}: classes by name are of BED, and this is {kind}")
    if kind == "bigWig":
        return BigWigTrack(path, genome)
    if kind == "bedGraph":
        return _read_bedgraph(path, genome)
    if kind == "BED":
        return _read_bed(path, genome, by_name)
    return _read_features(path, genome, features)


def _read_bedgraph(path: Path, genome: Genome) -> Track:
    starts, ends, values = array("q"), array("q"), array("f")
    last: dict[int, int] = {}
    for region in _placed(path, genome):
        if region.start < last.get(region.sequence, 0):
            raise SequenceError(
                f"{region.where}: lines of a sequence must be in order and not overlap, got {region.start} after a "
                f"line up to {last[region.sequence]}"
            )
        last[region.sequence] = region.end
        value = _number(region)
        if math.isnan(value):
            continue
        offset = int(genome.offsets[region.sequence])
        starts.append(offset + region.start)
        ends.append(offset + region.end)
        values.append(value)
    intervals = np.column_stack([np.array(starts, np.int64), np.array(ends, np.int64)])
    order = np.argsort(intervals[:, 0], kind="stable")  # sequences may be in another order than the genome's
    return IntervalTrack(path, genome, intervals[order], np.array(values, np.float32)[order])


def _number(region: Region) -> float:
    """Return the value of a bedGraph line."""
    text = region.fields[3] if len(region.fields) == 4 else ""
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    if math.isinf(value):
        raise SequenceError(
            f"{region.where}: a bedGraph line is name, start, end and a number, got {' '.join(region.fields)[:60]!r}"
        )
    return value


def _read_bed(path: Path, genome: Genome, by_name: bool) -> Track:
    regions: dict[str, list[tuple[int, int]]] = {}
    for region in _placed(path, genome):
        if by_name and len(region.fields) < 4:
            raise SequenceError(f"{region.where}: classes by name need a fourth column, got {len(region.fields)}")
        label = region.fields[3].strip() if by_name else "inside"
        offset = int(genome.offsets[region.sequence])
        regions.setdefault(label, []).append((region.start + offset, region.end + offset))
    if OUTSIDE in regions:
        raise SequenceError(f"{path}: no region may have the name {OUTSIDE!r}, the class of all other bases")
    classes = {label: union(np.array(regions[label], np.int64)) for label in sorted(regions)}
    covered = np.zeros((0, 2), np.int64)
    for label, own in classes.items():
        if len(both := intersection(covered, own)):
            first = int(both[0, 0])
            sequence = int(genome.sequence_of(both[0, :1])[0])
            where = f"{genome.names[sequence]}:{first - int(genome.offsets[sequence])}"
            raise SequenceError(f"{path}: a base can have one class, and {label} overlaps another at {where} (from 0)")
        covered = union(np.concatenate([covered, own]))
    return _of_classes(path, genome, classes)


def _read_features(path: Path, genome: Genome, features: Sequence[str]) -> Track:
    placed = read_lines(path, genome)
    _report_unplaced(path, genome, len(placed.lines), Counter(placed.unplaced), "lines")
    counts = Counter(line.type for line in placed.lines)
    missing = [feature for feature in features if feature not in counts]
    if missing or not features or len(set(features)) < len(features):
        has = ", ".join(f"{kind} ({count:,})" for kind, count in counts.most_common(8))
        raise ConfigError(
            f"{path}: name features that it has, each once; it has {has}; got {' '.join(features) or None}"
        )
    spans: dict[str, list[tuple[int, int]]] = {feature: [] for feature in features}
    for line in placed.lines:
        if line.type in spans:
            sequence = genome.index[line.name]
            offset = int(genome.offsets[sequence])
            parts = around((line.start, line.end), int(genome.lengths[sequence]))
            spans[line.type] += [(start + offset, end + offset) for start, end in parts]
    return _of_classes(path, genome, {f: union(np.array(own, np.int64)) for f, own in spans.items()})


def _of_classes(path: Path, genome: Genome, classes: dict[str, Intervals]) -> Track:
    """Return a track of classes, each of which has the bases of its intervals that none before has."""
    covered, parts = np.zeros((0, 2), np.int64), []
    for own in classes.values():
        parts.append(difference(own, covered))
        covered = union(np.concatenate([covered, own]))
    intervals = np.concatenate(parts)
    values = np.repeat(np.arange(1, len(parts) + 1), list(map(len, parts))).astype(np.float32)
    order = np.argsort(intervals[:, 0])
    return IntervalTrack(path, genome, intervals[order], values[order], (OUTSIDE, *classes))


def _placed(path: Path, genome: Genome) -> Iterator[Region]:
    """Yield the regions that lie on a genome; say how many do not, which is an error if none does."""
    unknown, number = Counter[str](), 0
    for region in read_regions(path, [genome], unknown=unknown):
        number += 1
        yield region
    _report_unplaced(path, genome, number, unknown, "lines")


def _report_unplaced(path: Path, genome: Genome, number: int, unknown: Counter[str], what: str) -> None:
    """Warn of what the genome does not have, which is an error if it has nothing of the file."""
    if not number:
        raise SequenceError(f"{path}: a track of another assembly: {genome.path} has none of {some(unknown)}")
    if unknown:
        total = unknown.total() + number
        warnings.warn(
            f"{path}: {unknown.total():,} of {total:,} {what} are left out: {genome.path} has no {some(unknown)}",
            stacklevel=4,
        )
