"""Means of tracks over classes of bases, with block-bootstrap intervals, as a table and a plot."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64

from dnar2mae.errors import ConfigError
from dnar2mae.finetuning.scores import bootstrap
from dnar2mae.genome.classes import base_classes
from dnar2mae.genome.intervals import Intervals, intersection
from dnar2mae.genome.store import Genome
from dnar2mae.genome.tracks import Track, read_track
from dnar2mae.plots.figure import new_figure, save_figure
from dnar2mae.plots.intervals import draw_intervals
from dnar2mae.scoring.intervals import Interval
from dnar2mae.storage.safe_files import output_file, refuse_inputs

_DIFFERENCES = (("codon position 3", "codon position 1"), ("codon position 3", "codon position 2"))
_NUM_BLOCKS, _LEAST_BLOCK_BP, _MOST_BLOCK_BP = 100, 1_000, 100_000


def summarise(files: Mapping[str, str], genome: Genome, classes: Mapping[str, Intervals]) -> pd.DataFrame:
    """Return the mean of each track over each class of bases, and differences of codon positions.

    The 95 % intervals are percentiles of 1,000 bootstrap samples of blocks of neighbouring bases, since bases near
    each other are alike: about 100 blocks of what has values, each of 1,000 to 100,000 bp.

    Parameters
    ----------
    files
        Files of tracks by what they show.
    genome
        Their genome.
    classes
        Bases by class, as :func:`dnar2mae.genome.classes.base_classes` returns them.

    Returns
    -------
    DataFrame
        ``track``, ``class``, ``bases`` (with a value), ``mean``, ``low``, ``high``; of a difference ``bases`` are those
        of its first class.
    """
    rows = []
    for what, file in files.items():
        sums = _block_sums(read_track(file, genome), classes)
        for name, own in sums.items():
            interval = bootstrap(_means, own)
            rows.append((what, name, int(own[:, 1].sum()), interval.value, interval.low, interval.high))
        for one, other in _DIFFERENCES:
            if one in sums and other in sums:
                pair = np.stack([sums[one], sums[other]], axis=1)
                interval = bootstrap(lambda sums: _means(sums[..., 0, :]) - _means(sums[..., 1, :]), pair)
                name = f"{one} minus {other.removeprefix('codon position ')}"
                rows.append((what, name, int(pair[:, 0, 1].sum()), interval.value, interval.low, interval.high))
    return pd.DataFrame(rows, columns=["track", "class", "bases", "mean", "low", "high"])


def _means(sums: Float64[np.ndarray, "*D 2"]) -> Any:
    """Return means from sums and numbers; NaN of a sample of blocks that has no base of the class."""
    with np.errstate(invalid="ignore"):
        return sums[..., 0] / sums[..., 1]


def _block_sums(track: Track, classes: Mapping[str, Intervals]) -> dict[str, Float64[np.ndarray, "G 2"]]:
    """Return the sum of the values and their number by class and block; only blocks and classes that have values."""
    genome = track.genome
    pieces = [
        (start, min(start + _LEAST_BLOCK_BP, end))
        for first, end in genome.intervals.tolist()
        for start in range(first, end, _LEAST_BLOCK_BP)
    ]
    sums = np.zeros((len(classes), len(pieces), 2))
    has_values = np.zeros(len(pieces), bool)
    for number, (start, end) in enumerate(pieces):
        sequence = int(genome.sequence_of(np.array([start]))[0])
        offset = int(genome.offsets[sequence])
        values = track.values(genome.names[sequence], start - offset, end - offset)
        known = np.isfinite(values)
        has_values[number] = known.any()
        if not has_values[number]:
            continue
        # sums over any stretch are differences of these
        running = np.zeros((len(values) + 1, 2))
        np.cumsum(np.column_stack([np.where(known, values, 0), known]), axis=0, out=running[1:])
        block = np.array([[start, end]])
        for row, own in enumerate(classes.values()):
            inside = intersection(block, own) - start
            sums[row, number] = (running[inside[:, 1]] - running[inside[:, 0]]).sum(0)
    sums = sums[:, has_values]
    together = int(np.clip(sums.shape[1] / _NUM_BLOCKS, 1, _MOST_BLOCK_BP // _LEAST_BLOCK_BP))
    sums = np.add.reduceat(sums, np.arange(0, sums.shape[1], together), axis=1)
    return {name: own for name, own in zip(classes, sums, strict=True) if own[:, 1].sum()}


@dataclass(frozen=True, slots=True)
class SummaryOf:
    """A summary that is asked for, its annotation read before hours of work."""

    genome: Genome
    classes: dict[str, Intervals]
    out: Path
    """Table, X.csv; the plot is X.png."""

    @classmethod
    def prepared(cls, annotation: Path | None, out: Path | None, track: Path, genome: Path) -> "SummaryOf | None":
        """Read the annotation; None where none is given.

        Raises
        ------
        ConfigError
            If the table has another suffix, would replace an input, or is asked for without an annotation.
        SequenceError
            If the annotation cannot be read or has none of the classes.
        """
        if annotation is None:
            if out is not None:
                raise ConfigError("--out-summary needs --summary, the annotation")
            return None
        out = out or track.with_suffix(".summary.csv")
        if out.suffix != ".csv":
            raise ConfigError(f"--out-summary must end in .csv (the plot is .png beside it), got {out}")
        refuse_inputs((out, out.with_suffix(".png")), (annotation, genome), "--out-summary")
        opened = Genome.open(genome)
        return cls(opened, base_classes(annotation, opened), out)

    def write(self, files: Mapping[str, str]) -> pd.DataFrame:
        """Write the table and the plot, print the table, and return it."""
        table = summarise(files, self.genome, self.classes)
        shown = table.to_string(index=False, float_format="{:.4f}".format, formatters={"bases": "{:,}".format})
        print(shown, "Wrote " + ", ".join(map(str, write_summary(table, self.out))), sep="\n")
        return table


def write_summary(table: pd.DataFrame, path: Path) -> tuple[Path, Path]:
    """Write the table, and its plot as ``.png`` beside it; return both paths.

    Raises
    ------
    ConfigError
        If a file cannot be written.
    """
    with output_file(path) as partial:
        table.to_csv(partial, index=False, float_format="%.5f")
    means = table[~table["class"].str.contains(" minus ")]
    tracks = list(means["track"].unique())
    figure = new_figure(4.5 * len(tracks), 0.6 + 0.4 * means["class"].nunique())
    for axes, what in zip(figure.subplots(1, len(tracks), squeeze=False)[0], tracks, strict=True):
        rows = means[means["track"] == what]
        draw_intervals(
            axes,
            {
                row["class"]: {what: Interval(value=row["mean"], low=row["low"], high=row["high"])}
                for _, row in rows.iterrows()
            },
        )
        axes.set_xlabel("mean" if what == "reference-probability" else "mean (bits)")
    plot = path.with_suffix(".png")
    save_figure(figure, plot)
    return path, plot
