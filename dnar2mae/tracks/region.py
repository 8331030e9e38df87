"""A region of a genome in one figure: a track, gene models, and a logo of the predicted bases."""

from pathlib import Path
from typing import Any

import numpy as np

from dnar2mae.genome.alphabet import SOFT_MASK
from dnar2mae.genome.annotation import Transcript, read_annotation
from dnar2mae.genome.store import Genome
from dnar2mae.genome.window_layout import lay_windows
from dnar2mae.inference import Model
from dnar2mae.plots.figure import new_figure, save_figure
from dnar2mae.plots.maps import draw_logo
from dnar2mae.tracks.options import TrackOptions
from dnar2mae.tracks.predictions import (
    LogProbabilities,
    base_log_probabilities,
    period_of,
    require_single_bases,
    window_of,
)
from dnar2mae.tracks.quantities import quantity

_LABELS = {
    "entropy": "entropy (bits)",
    "reference-probability": "p(base)",
    "constraint": "constraint (bits)",
}
_MOST_ROWS = 12
"""Transcripts drawn below one another; more are left out, and the axis says so."""


def region_log_probabilities(
    model: Model, genome: Genome, region: tuple[str, int, int], options: TrackOptions
) -> LogProbabilities:
    """Return the log-probabilities of a region's bases, as tracks have them.

    Raises
    ------
    SequenceError
        If the region is not inside the sequence.
    ConfigError, RunError
        If the model is not one of single bases, or has no masked predictions.
    """
    require_single_bases(model)
    start, end = genome.concatenated(*region)
    windows = lay_windows(genome, np.array([[start, end]]), model.window_bp, options.overlap_share)
    asked = [window_of(genome, windows, number) for number in range(len(windows.extents))]
    period = period_of(options.pattern_ratio, model.window_bp)
    answers = base_log_probabilities(model, asked, period, both_strands=options.both_strands)
    return np.concatenate([rows[window.wanted] for rows, window in zip(answers, asked, strict=True)])


def plot_region(
    model: Model, region: tuple[str, int, int], genes: Path | None, out: Path, options: TrackOptions
) -> None:
    """Draw tracks of a region, the genes on it, and the predicted bases.

    The logo's letters are the probabilities where the base is masked, times their information content, as in
    :func:`dnar2mae.plots.plot_mutagenesis`.

    Parameters
    ----------
    model
        A model of single bases of objective ``mlm``.
    region
        Name, start, end; 0-based half-open.
    genes
        GFF3, GTF, BED, GenBank or EMBL file; None draws no genes.
    out
        PNG, SVG or PDF.
    options
        Genome, quantities, pattern.

    Raises
    ------
    Dnar2maeError
        If the model, a file or the region cannot be used.
    """
    genome = Genome.open(options.genome)
    name, start, end = region
    here = overlapping(read_annotation(genes, genome).transcripts, region) if genes else []
    log_p = region_log_probabilities(model, genome, region, options)
    codes = genome.codes(name, start, end) & np.uint8(SOFT_MASK - 1)
    rows = min(len(here), _MOST_ROWS)
    ratios = [1.2] * len(options.what) + ([0.3 + 0.22 * rows] if genes else []) + [1.2]
    figure = new_figure(min(max((end - start) * 0.16, 8.0), 60.0), 0.8 + 1.2 * sum(ratios))
    axes = figure.subplots(len(ratios), 1, sharex=True, height_ratios=ratios)
    for panel, what in zip(axes, options.what, strict=False):
        values = quantity(what, log_p, codes)
        panel.bar(np.arange(start, end), np.nan_to_num(values), width=1.0, color="0.4")
        panel.axhline(0, color="0.7", lw=0.6)
        panel.set_ylabel(_LABELS[what])
    if genes:
        draw_genes(axes[-2], here, region)
    draw_logo(axes[-1], log_p, start)
    axes[-1].set(xlim=(start - 0.5, end - 0.5), xlabel=f"position on {name} (0-based)")
    axes[0].set_title(f"{name}:{start:,}-{end:,}")
    save_figure(figure, out)


def overlapping(transcripts: list[Transcript], region: tuple[str, int, int]) -> list[Transcript]:
    """Return the transcripts that have a base in a region."""
    name, start, end = region
    return [t for t in transcripts if t.name == name and any(low < end and start < high for low, high in t.spans)]


def draw_genes(axes: Any, transcripts: list[Transcript], region: tuple[str, int, int]) -> None:
    """Draw a line along each gene, exons as boxes, coding parts as higher ones, and the strand as < or >."""
    _, start, end = region
    for row, transcript in enumerate(transcripts[:_MOST_ROWS]):
        for spans, height in ((transcript.spans, 0.06), (transcript.exons, 0.35), (transcript.coding, 0.7)):
            for low, high in spans:
                axes.broken_barh([(low - 0.5, high - low)], (row - height / 2, height), color="#1f5fbf")
        marks = np.linspace(start, end, 12)[1:-1]
        inside = [at for at in marks if any(low <= at < high for low, high in transcript.spans)]
        axes.plot(inside, [row] * len(inside), ls="", marker=">" if transcript.strand == "+" else "<", color="w", ms=4)
    more = len(transcripts) - _MOST_ROWS
    axes.set(yticks=[], ylim=(min(len(transcripts), _MOST_ROWS) - 0.4, -0.6))
    axes.set_ylabel("genes" if more <= 0 else f"genes\n(+{more})")
