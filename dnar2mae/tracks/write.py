"""``tracks``: predict every base of a genome, or of regions, where it is masked, and write bigWig or bedGraph."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.genome.bed import read_bed
from dnar2mae.genome.intervals import intersection, union
from dnar2mae.genome.store import Genome
from dnar2mae.genome.track_writer import TRACK_SUFFIXES, Chunk, write_track
from dnar2mae.genome.window_layout import WindowLayout, lay_windows
from dnar2mae.inference import Model
from dnar2mae.storage.fingerprint import of_values
from dnar2mae.storage.progress import progress_bar
from dnar2mae.storage.safe_files import refuse_inputs
from dnar2mae.tracks.kept_values import KeptValues
from dnar2mae.tracks.options import TrackOptions
from dnar2mae.tracks.predictions import base_log_probabilities, period_of, require_single_bases, window_of
from dnar2mae.tracks.quantities import quantity

_AT_ONCE = 32  # windows: seconds on one core, and some batches on a GPU
_CHUNK = 1 << 20  # bases written at once


@dataclass(frozen=True, slots=True)
class TracksWritten:
    """The output of :func:`tracks`."""

    files: dict[str, str]
    """By what they show."""
    bases: int
    """Bases asked for."""
    unknown: int
    """Those of them without a value."""
    period: int
    """One of so many bases was masked at once."""
    seconds: float
    """Of this call."""
    computed: int
    """Bases of this call: without those that an interrupted one had left."""
    means: dict[str, float]
    """Mean over all bases that have a value."""
    source: str
    """The model."""

    def lines(self) -> list[str]:
        """Return it in words."""
        rate = self.computed / max(self.seconds, 1e-9)
        return [
            f"{self.bases:,} bases, {self.unknown:,} of them unknown; one of {self.period} masked at once",
            f"{self.seconds:.0f} s for {self.computed:,} bases, {rate:,.0f} a second",
            *(f"Wrote {file}: {what}, mean {self.means[what]:.4f}" for what, file in self.files.items()),
        ]


class _Job(NamedTuple):
    """What is computed, and where it is kept."""

    model: Model
    genome: Genome
    windows: WindowLayout
    options: TrackOptions
    kept: KeptValues


def tracks(model: Model, out: str | Path, options: TrackOptions, *, progress: bool = True) -> TracksWritten:
    """Predict bases where they are masked, and write what is asked for of them.

    Parameters
    ----------
    model
        A model of single bases of objective ``mlm``.
    out
        ``.bw``, ``.bigwig`` or ``.bedgraph``; of several quantities a file each, with their names before the suffix.
        Beside it a folder ``X.bw.partial`` keeps values meanwhile: the same call goes on where another was killed.
    options
        Genome, regions, quantities, pattern.
    progress
        Show progress.

    Raises
    ------
    Dnar2maeError
        If the model, the input or the output cannot be used.
    """
    out = Path(out)
    files = files_of(out, options)
    require_single_bases(model)
    genome = Genome.open(options.genome)
    regions = genome.intervals if options.bed is None else read_bed(options.bed, [genome])[0]
    windows = lay_windows(genome, regions, model.window_bp, options.overlap_share)
    period = period_of(options.pattern_ratio, model.window_bp)
    settings = {
        "model": model.digest(),
        "genome": genome.fingerprint(),
        "regions": of_values(regions.tolist()) if options.bed else "all",
        "what": options.what,
        "window_bp": model.window_bp,
        "period": period,
        "overlap_share": options.overlap_share,
        "both_strands": options.both_strands,
    }
    kept = KeptValues(out, settings, len(options.what), overwrite=options.overwrite)
    started = time.monotonic()
    means: dict[str, float] = {}
    unknown = 0
    with kept.held():
        computed = _compute(_Job(model, genome, windows, options, kept), progress=progress)
        seconds = time.monotonic() - started
        for column, what in enumerate(options.what):
            total = _Total()
            try:
                write_track(files[what], genome, total.watch(_chunks(genome, windows, kept, column)))
            except SequenceError:  # no base has a value: there is nothing to go on with
                kept.remove()
                raise
            means[what], unknown = total.mean(), total.unknown
        kept.remove()
    bases = int(windows.bases_before()[-1])
    names = {what: str(file) for what, file in files.items()}
    return TracksWritten(names, bases, unknown, period, seconds, computed, means, model.source)


def files_of(out: Path, options: TrackOptions) -> dict[str, Path]:
    """Return the files to write by quantity; refuse, before hours of work, what cannot be written.

    Raises
    ------
    ConfigError
        If the suffix is none of a track's, its package is missing, or a file exists that must not be replaced.
    """
    if out.suffix.lower() not in TRACK_SUFFIXES:
        raise ConfigError(f"--out of a track must end in {', '.join(TRACK_SUFFIXES)}, got {out}")
    if out.suffix.lower() != ".bedgraph" and find_spec("pybigtools") is None:
        raise ConfigError(f"--out {out}: a bigWig file needs the package pybigtools: pip install 'dnar2mae[tracks]'")
    several = len(options.what) > 1
    files: dict[str, Path] = {
        what: out.with_suffix(f".{what}{out.suffix}") if several else out for what in options.what
    }
    refuse_inputs(files.values(), (options.genome, options.bed))
    if exists := [file for file in files.values() if file.exists() and not options.overwrite]:
        raise ConfigError(f"--out {exists[0]} exists; give --overwrite to replace it")
    return files


def _compute(job: _Job, *, progress: bool) -> int:
    """Compute what is not kept yet; return of how many bases."""
    model, genome, windows, options, kept = job
    before = windows.bases_before()
    done = int(np.searchsorted(before, kept.num_bases(), side="right")) - 1  # windows with all of their bases
    kept.truncate(int(before[done]))
    period = period_of(options.pattern_ratio, model.window_bp)
    with progress_bar("predicting bases", int(before[-1]), show=progress) as bar:
        bar.begin("predicting bases", int(before[-1]), int(before[done]))
        for start in range(done, len(windows.extents), _AT_ONCE):
            end = min(start + _AT_ONCE, len(windows.extents))
            asked = [window_of(genome, windows, number) for number in range(start, end)]
            answers = base_log_probabilities(model, asked, period, both_strands=options.both_strands)
            log_p = np.concatenate([rows[window.wanted] for rows, window in zip(answers, asked, strict=True)])
            codes = np.concatenate([window.codes[window.wanted] for window in asked])
            kept.append(np.column_stack([quantity(what, log_p, codes) for what in options.what]))
            bar(int(before[end]))
    return int(before[-1] - before[done])


def _chunks(genome: Genome, windows: WindowLayout, kept: KeptValues, column: int) -> Iterator[Chunk]:
    """Yield the kept values of a quantity; pieces that touch each other are read as one."""
    done = 0
    for start, end in intersection(union(windows.pieces), genome.intervals).tolist():
        sequence = int(genome.sequence_of(np.array([start]))[0])
        for low in range(start, end, _CHUNK):
            number = min(_CHUNK, end - low)
            values = kept.read(done, done + number)[:, column]
            yield genome.names[sequence], int(low - genome.offsets[sequence]), values
            done += number


class _Total:
    """The mean of values that pass by, and how many there are not."""

    def __init__(self) -> None:
        self.sum, self.known, self.unknown = 0.0, 0, 0

    def watch(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Yield the chunks."""
        for chunk in chunks:
            known = np.isfinite(chunk[2])
            self.known += int(known.sum())
            self.unknown += int((~known).sum())
            self.sum += float(chunk[2][known].sum(dtype=np.float64))
            yield chunk

    def mean(self) -> float:
        """Return the mean; there is a value, as no track is written without one."""
        return self.sum / self.known
