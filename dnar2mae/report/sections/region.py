"""A held-out stretch of the genome: what the model's constraint says of each base, above it the genes."""

from typing import Any

import numpy as np

from dnar2mae.errors import SequenceError
from dnar2mae.genome.alphabet import SOFT_MASK
from dnar2mae.genome.annotation import Transcript, read_annotation
from dnar2mae.genome.intervals import Intervals
from dnar2mae.genome.store import Genome
from dnar2mae.report.content import Picture, SectionContent
from dnar2mae.report.drawing import svg
from dnar2mae.report.reported_run import ReportedRun
from dnar2mae.tracks.options import TrackOptions
from dnar2mae.tracks.quantities import quantity
from dnar2mae.tracks.region import draw_genes, overlapping, region_log_probabilities
from dnar2mae.variants.controls import division

_REGION_BP = 3000
_BIN_BP = 15  # whole codons, and on a phone a bin is wider than a pixel


def region(run: ReportedRun) -> SectionContent:
    """Return the constraint of a held-out region with many ends of genes, and its genes."""
    run.genes  # noqa: B018 - says so if there is no annotation, before the model is loaded
    shown = run.computed("region", lambda: _computed(run), run.genome_file)
    name, start, end = shown["region"]
    means = np.array(shown["means"], float)  # null, where no base is known, is NaN
    transcripts = [
        Transcript(name, strand, _spans(spans), _spans(exons), _spans(coding))
        for strand, spans, exons, coding in shown["transcripts"]
    ]
    alt = f"Constraint along {name}:{start:,}-{end:,}, above it {len(transcripts)} genes or transcripts."

    def draw(axes: Any) -> None:
        edges = np.minimum(start + _BIN_BP * np.arange(len(means) + 1), end)
        axes.stairs(means, edges, lw=1)
        axes.axhline(0, color="#999999", lw=0.6)
        axes.set(xlim=(start, end), xlabel=f"position on {name} (0-based)", ylabel="constraint (bits)")
        axes.ticklabel_format(axis="x", style="plain", useOffset=False)
        axes.locator_params(axis="x", nbins=4)
        genes = axes.inset_axes((0, 1.03, 1, 0.1 + 0.06 * min(len(transcripts), 5)), sharex=axes)
        draw_genes(genes, transcripts, (name, start, end))
        genes.tick_params(labelbottom=False, bottom=False)

    means_of = "; ".join(
        f"{mean:+.2f} over {bases:,} {kind} bases"
        for kind, (mean, bases) in (("coding", shown["coding"]), ("other", shown["other"]))
        if bases
    )
    return SectionContent(
        lines=(
            "Constraint: by how many bits the base that is there is likelier, where it is masked, than the others. "
            f"Of both strands; a step is the mean over {_BIN_BP} bases. Above it the genes of the annotation, their "
            "coding parts high. This is where most genes begin or end in the held-out part; the model has seen neither "
            "the stretch nor the annotation.",
            f"Mean bits, of this stretch alone: {means_of}. dnar2mae tracks writes the constraint of a whole genome.",
        ),
        pictures=(Picture(svg("region", alt, draw), f"{name}:{start:,}-{end:,}"),),
    )


def _spans(stored: list[list[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((low, high) for low, high in stored)


def _computed(run: ReportedRun) -> dict[str, Any]:
    modality, number, _ = division(run.model, run.genome_file)
    genome = modality.genomes[number]
    assert run.options.genes is not None
    transcripts = read_annotation(run.options.genes, genome).transcripts
    place = _most_ends(genome, modality.parts.validation[number], transcripts)
    if place is None:
        raise SequenceError(f"{run.options.genes}: no gene begins or ends in the held-out part")
    name, start, end = place
    log_p = region_log_probabilities(run.model, genome, place, TrackOptions(genome=run.genome_file))
    values = quantity("constraint", log_p, genome.codes(name, start, end) & np.uint8(SOFT_MASK - 1)).astype(float)
    here = overlapping(transcripts, place)
    is_coding = np.zeros(end - start, bool)
    for transcript in here:
        for low, high in transcript.coding:
            is_coding[max(low - start, 0) : max(high - start, 0)] = True
    known = np.isfinite(values)
    bins = [values[at : at + _BIN_BP] for at in range(0, end - start, _BIN_BP)]
    return {
        "region": place,
        "means": [float(part[np.isfinite(part)].mean()) if np.isfinite(part).any() else None for part in bins],
        "transcripts": [(t.strand, t.spans, t.exons, t.coding) for t in here],
        "coding": _mean(values[is_coding & known]),
        "other": _mean(values[~is_coding & known]),
    }


def _mean(values: np.ndarray) -> tuple[float, int]:
    """Return the mean, 0 of no value, and the number of values."""
    return (float(values.mean()) if len(values) else 0.0), len(values)


def _most_ends(genome: Genome, held: Intervals, transcripts: list[Transcript]) -> tuple[str, int, int] | None:
    """Return the stretch of the held-out part in which most transcripts begin or end; None where none does."""
    ends = [
        genome.concatenated(transcript.name, at, at + 1)[0]
        for transcript in transcripts
        for low, high in transcript.spans
        for at in (low, high - 1)
    ]
    sorted_ends = np.sort(np.array(ends, np.int64))
    steps = [np.arange(low, max(high - _REGION_BP, low) + 1, _REGION_BP // 4) for low, high in held.tolist()]
    starts = np.concatenate(steps)
    stops = np.minimum(starts + _REGION_BP, np.repeat(held[:, 1], [len(part) for part in steps]))
    numbers = np.searchsorted(sorted_ends, stops) - np.searchsorted(sorted_ends, starts)
    best = int(numbers.argmax())
    if not numbers[best]:
        return None
    sequence = int(genome.sequence_of(starts[best : best + 1])[0])
    offset = int(genome.offsets[sequence])
    return genome.names[sequence], int(starts[best]) - offset, int(stops[best]) - offset
