"""Windows of genomes by index: drawn at random for training, tiling the held-out stretches for validation.

Both sources are pure: window ``i`` depends on the genomes, the configuration, the seed and ``i`` alone.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from dnar2mae.config import DataConfig
from dnar2mae.errors import SequenceError
from dnar2mae.genome.alphabet import complement
from dnar2mae.genome.eligible import eligible_starts
from dnar2mae.genome.intervals import Intervals, intersection, intervals_of, size, union
from dnar2mae.genome.store import Genome
from dnar2mae.random import Stream, draw, unit


class _Source(ABC):
    """The part that both sources share: from genome, start and strand to codes."""

    genomes: tuple[Genome, ...]
    window_bp: int
    _starts: tuple[Intervals, ...]
    _report: dict[str, dict[str, int]]

    def __init__(self, genomes: Sequence[Genome], intervals: Sequence[Intervals], config: DataConfig):
        self.genomes, self.window_bp = tuple(genomes), config.window_bp
        eligible = eligible_starts(genomes, intervals, config)
        self._starts = tuple(part.starts for part in eligible)
        self._report = {str(genome.path): part.report for genome, part in zip(self.genomes, eligible, strict=True)}

    @abstractmethod
    def places(self, sample_ids: Int64[np.ndarray, " B"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the genome's number, the start in concatenated coordinates, and whether the strand is - ."""

    def report(self) -> dict[str, dict[str, int]]:
        """Return for each genome (by path) how many starts are possible, removed by each rule, and eligible."""
        return copy.deepcopy(self._report)

    def coverage(self) -> tuple[Intervals, ...]:
        """Return for each genome the bases that lie in a window of this source, in concatenated coordinates."""
        return tuple(
            intersection(union(intervals_of(starts[:, 0], starts[:, 1] + self.window_bp - 1)), genome.intervals)
            for genome, starts in zip(self.genomes, self._starts, strict=True)
        )

    def codes(self, sample_ids: Int64[np.ndarray, " B"]) -> UInt8[np.ndarray, "B L"]:
        """Return the codes of these samples' windows, reverse-complemented on strand ``-``."""
        genome, start, reverse = self.places(sample_ids)
        if len(self.genomes) == 1:
            codes = self.genomes[0].windows(start, self.window_bp)
        else:
            codes = np.empty((len(start), self.window_bp), np.uint8)
            for i in np.unique(genome):
                rows = genome == i
                codes[rows] = self.genomes[i].windows(start[rows], self.window_bp)
        codes[reverse] = complement(codes[reverse, ::-1])
        return codes


class WindowSource(_Source):
    """Windows drawn at random: a genome by weight, a start uniformly among its eligible ones, then a strand.

    Parameters
    ----------
    genomes
        The genomes in the order of ``config.genomes``.
    intervals
        Where windows may lie: ``Split.training``.
    config
        ``window_bp``, ``include``, ``exclude``, ``max_n_share``, ``weights`` and ``reverse_complement`` are
        used. A genome weighs by default as much as it has eligible starts; one without any is never drawn.
    seed
        The run's seed.

    Raises
    ------
    SequenceError
        No window is eligible; a BED file breaks a rule (see ``read_bed``).
    """

    def __init__(self, genomes: Sequence[Genome], intervals: Sequence[Intervals], config: DataConfig, *, seed: int = 0):
        super().__init__(genomes, intervals, config)
        self._seed, self._both_strands, self._weights = seed, config.reverse_complement, config.weights
        self._number()

    def starts_around(self, bases: Sequence[Intervals]) -> tuple[Intervals, ...]:
        """Return the eligible starts of windows whose :func:`middle` is among these bases, by genome."""
        shift = middle(0, self.window_bp)
        return tuple(intersection(a, b - shift) for a, b in zip(self._starts, bases, strict=True))

    def among(self, starts: tuple[Intervals, ...]) -> "WindowSource":
        """Return the source of the windows with these starts, some of its own."""
        other = copy.copy(self)
        other._starts = starts
        other._number()
        return other

    def _number(self) -> None:
        # eligible starts are numbered through: interval k has the numbers ends[k - 1] to ends[k] - 1
        self._ends = tuple(np.cumsum(starts[:, 1] - starts[:, 0]) for starts in self._starts)
        counts = np.array([ends[-1] if len(ends) else 0 for ends in self._ends])
        weights = np.where(counts > 0, self._weights, 0.0) if self._weights else counts.astype(float)
        # divided by its own last number, the last is exactly 1: no draw falls beyond it
        self._upto = np.cumsum(weights) / np.cumsum(weights)[-1]

    def places(self, sample_ids: Int64[np.ndarray, " B"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw the places of these windows."""
        words = draw(self._seed, Stream.WINDOW, sample_ids)
        genome = np.searchsorted(self._upto, unit(words[0], words[1]), side="right")
        share = unit(words[2], words[3])
        start = np.empty_like(sample_ids)
        for i in np.unique(genome):
            rows = genome == i
            ends, starts = self._ends[i], self._starts[i]
            number = (share[rows] * ends[-1]).astype(np.int64)
            k = np.searchsorted(ends, number, side="right")
            start[rows] = starts[k, 1] - (ends[k] - number)
        if not self._both_strands:
            return genome, start, np.zeros(len(start), bool)
        word, *_ = draw(self._seed, Stream.STRAND, sample_ids)
        return genome, start, word & 1 == 1


class MixtureSource(_Source):
    """Windows drawn at random by class: a class by its share, then a window of it as :class:`WindowSource` does.

    Parameters
    ----------
    windows
        All eligible windows.
    classes
        By class, the bases of each genome that belong to it.
    shares
        Share of each class that is drawn, of the same seed; they sum to 1.

    Raises
    ------
    SequenceError
        A class is unknown, or no window has its middle in it.
    """

    def __init__(self, windows: WindowSource, classes: Mapping[str, Sequence[Intervals]], shares: Mapping[str, float]):
        self.genomes, self.window_bp, self._report = windows.genomes, windows.window_bp, windows.report()
        self._seed = windows._seed
        self._parts: list[WindowSource] = []
        for name in shares:
            starts = windows.starts_around(classes[name]) if name in classes else ()
            if not any(map(len, starts)):
                known = ", ".join(other for other in classes if any(map(len, windows.starts_around(classes[other]))))
                problem = "no training window has its middle in" if name in classes else "no class is called"
                raise SequenceError(f"--data.mixture: {problem} {name}; there are windows of {known}")
            self._parts.append(windows.among(starts))
            for genome, own in zip(self.genomes, starts, strict=True):
                self._report[str(genome.path)][f"eligible_{name}"] = size(own)
        self._starts = tuple(
            union(np.concatenate(parts)) for parts in zip(*(part._starts for part in self._parts), strict=True)
        )
        # divided by its own last number, as the weights of genomes are
        self._upto = np.cumsum(list(shares.values())) / np.cumsum(list(shares.values()))[-1]

    def places(self, sample_ids: Int64[np.ndarray, " B"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw the places of these windows."""
        words = draw(self._seed, Stream.CLASS, sample_ids)
        chosen = np.searchsorted(self._upto, unit(words[0], words[1]), side="right")
        genome, start = np.empty_like(sample_ids), np.empty_like(sample_ids)
        reverse = np.empty(len(sample_ids), bool)
        for i, part in enumerate(self._parts):
            rows = chosen == i
            genome[rows], start[rows], reverse[rows] = part.places(sample_ids[rows])
        return genome, start, reverse


class TiledSource(_Source):
    """Windows that tile intervals from their starts without overlap, each on both strands in turn.

    Parameters
    ----------
    genomes
        The genomes in the order of ``config.genomes``.
    intervals
        What to tile: ``Split.validation``.
    config
        As for ``WindowSource``; ``weights`` is not used. Without ``reverse_complement`` only strand + is
        read.

    Raises
    ------
    SequenceError
        No window is eligible; a BED file breaks a rule (see ``read_bed``).
    """

    def __init__(self, genomes: Sequence[Genome], intervals: Sequence[Intervals], config: DataConfig):
        super().__init__(genomes, intervals, config)
        tiles = [_tile(starts, self.window_bp) for starts in self._starts]
        self._starts = tuple(intervals_of(starts, starts + 1) for starts in tiles)
        num_strands = 2 if config.reverse_complement else 1
        self._genome = np.repeat(np.repeat(np.arange(len(tiles)), [len(t) for t in tiles]), num_strands)
        self._start = np.repeat(np.concatenate(tiles), num_strands)
        self._reverse = np.arange(len(self._start)) % num_strands == 1

    def __len__(self) -> int:
        """Return the number of windows, both strands counted."""
        return len(self._start)

    def places(self, sample_ids: Int64[np.ndarray, " B"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the places of these tiles."""
        return self._genome[sample_ids], self._start[sample_ids], self._reverse[sample_ids]


def middle(start: Any, window_bp: int) -> Any:
    """Return the position of a window's middle base, to whose class the window belongs; of an even number the right."""
    return start + window_bp // 2


def _tile(starts: Intervals, window_bp: int) -> Int64[np.ndarray, " K"]:
    """Put windows as far left as they go, one after the other, at eligible starts."""
    tiles, free = [np.empty(0, np.int64)], np.iinfo(np.int64).min
    for first, end in starts.tolist():
        # the last tile of earlier starts may reach into these
        tiles.append(np.arange(max(first, free), end, window_bp, dtype=np.int64))
        free = tiles[-1][-1] + window_bp if len(tiles[-1]) else free
    return np.concatenate(tiles)
