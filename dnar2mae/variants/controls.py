"""Built-in controls of variant scores: pairs of substitutions from an annotation, of which one breaks what it says."""

import csv
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from dnar2mae.errors import RunError, SequenceError, require, require_choices
from dnar2mae.genome.annotation import read_annotation
from dnar2mae.genome.fitted_bases import fitted_bases
from dnar2mae.genome.intervals import Intervals, size
from dnar2mae.genome.motifs import read_motifs
from dnar2mae.genome.store import Genome, give_names
from dnar2mae.inference import Model
from dnar2mae.modalities.dna.modality import DnaModality
from dnar2mae.scoring.intervals import Interval, evaluate_groups
from dnar2mae.storage.safe_files import output_file, refuse_inputs, write_whole
from dnar2mae.variants.alleles import Variant
from dnar2mae.variants.binding_sites import BindingSites
from dnar2mae.variants.control_pairs import ControlVariant, draw_pairs
from dnar2mae.variants.control_sites import AnnotatedBases, Control
from dnar2mae.variants.count_ratios import ONE_SIDED, TWO_SIDED, count_ratios
from dnar2mae.variants.matrix_ratios import MATRICES
from dnar2mae.variants.options import ScoreOptions
from dnar2mae.variants.table import score_variants

_COLUMNS = {MATRICES: "matrices_llr", "model": "llr", TWO_SIDED: "two_sided_llr", ONE_SIDED: "one_sided_llr"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlOptions:
    """Which pairs are drawn."""

    pairs: int = 700
    """Most pairs of each control."""
    region: Literal["held-out", "all"] = "held-out"
    """Where they lie: in what the run held out, or anywhere in the genome."""
    seed: int = 0
    """Seed of the draw."""
    assembly_report: str | Path | None = None
    """NCBI's *_assembly_report.txt of the genome, for other names of its sequences."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_choices(self)
        require(self.pairs >= 1, "pairs", "at least 1", self.pairs)
        require(self.seed >= 0, "seed", "at least 0", self.seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlsReport:
    """How well scores tell the two of each pair apart."""

    model: str
    genome: str
    annotation: str
    matrices: str | None
    """File of the weight matrices whose sites were broken; None where genes were."""
    options: ControlOptions
    region_bp: int
    """Size of the region that pairs were drawn from."""
    is_of_run: bool
    """The run names this genome; else it was divided by the run's settings as if it were the run's only one."""
    annotated: str
    """In words, how much that can be broken is annotated, and the format that the annotation was read as."""
    pairs: dict[str, int]
    """Pairs by control, at most as many as were asked for."""
    auroc: dict[str, dict[str, Interval]]
    """By control and score: how often the breaking one of two has the lower score."""
    seconds: float

    def lines(self) -> list[str]:
        """Return the table, a line for each control and score, and what is to be known about it."""
        lines = [f"{'control':<16}{'pairs':>6}  {'score':<30}AUROC"]
        for control, by_score in self.auroc.items():
            for score, interval in by_score.items():
                lines.append(f"{control:<16}{self.pairs[control]:>6}  {score:<30}{interval}")
        few = [f"{count} of {name}" for name, count in self.pairs.items() if count < self.options.pairs]
        if few:
            lines.append(f"Fewer than {self.options.pairs} pairs in {self._where()}: {', '.join(few)}.")
        lines.append(f"Annotated: {self.annotated}.")
        if not self.is_of_run:
            lines.append(
                f"{self.genome} is no genome of the run: divided by the run's settings, its training part counted."
            )
        return lines

    def _where(self) -> str:
        return f"{self.region_bp:,} bp" + (" held out" if self.options.region == "held-out" else "")


def score_controls(
    model: Model,
    annotation: str | Path,
    out: str | Path,
    *,
    genome: str | Path,
    matrices: str | Path | None = None,
    score: ScoreOptions | None = None,
    options: ControlOptions | None = None,
) -> ControlsReport:
    """Draw controls from an annotation, score them by the model and by counts, and write both.

    Parameters
    ----------
    model
        A model of objective ``mlm``.
    annotation
        GFF3, GTF, BED, GenBank or EMBL file; its phases and genetic codes (``transl_table``, by default 11) are heeded.
    out
        ``X.csv``: a line a variant, with the columns ``chrom``, ``pos`` (1-based), ``ref`` and ``alt`` of a table of
        variants. Beside it, ``X.json`` has the report.
    genome
        The sequence file that the annotation refers to.
    matrices
        Weight matrices in MEME's minimal format: then the pairs are of their annotated sites, one broken and one far
        from all, and the matrices' own scores are the most that a model can reach.
    score
        Window, strands, precision.
    options
        Number, region and seed of the pairs.

    Returns
    -------
    ControlsReport
        AUROC with 95 % intervals, of the model and of counts that are fitted on the training part.

    Raises
    ------
    ConfigError
        If ``out`` does not end in .csv, cannot be written, or is an input.
    SequenceError
        If a file cannot be used, or there is no pair.
    RunError
        If the model has no masked predictions.
    """
    started, out = time.monotonic(), Path(out)
    score, options = score or ScoreOptions(), options or ControlOptions()
    require(out.suffix == ".csv", "out", "a file whose name ends in .csv", out)
    refuse_inputs((out, out.with_suffix(".json")), (genome, annotation, matrices, options.assembly_report))
    if model.module.decoder is not None:
        raise RunError(f"{model.source}: scoring variants needs a model of --model.objective mlm, got mae")
    modality, number, is_of_run = division(model, Path(genome))
    opened = modality.genomes[number]
    if options.assembly_report is not None:
        give_names([opened], options.assembly_report)
    region = modality.parts.validation[number] if options.region == "held-out" else opened.intervals
    bases, read_as = _annotated(opened, Path(annotation), Path(matrices) if matrices else None, region)
    drawn = [v for control in bases.controls for v in draw_pairs(bases, control, options.pairs, options.seed)]
    if not drawn:
        raise SequenceError(_nothing_drawn(annotation, bases, options))
    variants = [v.variant for v in drawn]
    scores = {"model": _model_scores(model, opened, variants, score)}
    scores |= count_ratios(fitted_bases(modality.genomes, modality.train.windows.coverage()), opened, variants)
    scores |= bases.known_ratios(variants)
    drawn, scores = _whole_pairs(drawn, scores)
    report = ControlsReport(
        model=model.source,
        genome=str(genome),
        annotation=str(annotation),
        matrices=str(matrices) if matrices else None,
        options=options,
        region_bp=size(region),
        is_of_run=is_of_run,
        annotated=f"{bases.contents()}; read as {read_as}",
        pairs={control: sum(v.control == control for v in drawn) // 2 for control in bases.controls},
        auroc=_aurocs(bases.controls, drawn, scores),
        seconds=time.monotonic() - started,
    )
    _write(out, drawn, scores)
    write_whole(out.with_suffix(".json"), json.dumps(asdict(report), indent=1))
    return report


def division(model: Model, path: Path) -> tuple[DnaModality, int, bool]:
    """Return the modality that divides a genome, the genome's number in it, and whether the run names the genome.

    A genome that the run does not name is divided as one of its own, by the run's settings: a run may have moved, and
    an export records no genome.
    """
    data = model.modality.config.data
    for number, name in enumerate(data.genomes):
        is_same = path.exists() and Path(name).exists() and path.samefile(name)
        if is_same or path == Path(name):
            return model.modality, number, True
    genome = Genome.open(path)
    held, test = (tuple(n for n in names if genome.find(n)) for names in (data.validation, data.test))
    data = replace(data, include=None, exclude=None, assembly_report=None)
    own = replace(data, genomes=(str(path),), weights=(), validation=held, test=test)
    return DnaModality(replace(model.modality.config, data=own)), 0, False


def _annotated(
    genome: Genome, annotation: Path, matrices: Path | None, region: Intervals
) -> tuple[AnnotatedBases | BindingSites, str]:
    if matrices:
        sites = BindingSites(genome, annotation, read_motifs(matrices), region)
        return sites, sites.format
    read = read_annotation(annotation, genome)
    return AnnotatedBases(genome, read.transcripts, region), read.format


def _nothing_drawn(annotation: str | Path, bases: AnnotatedBases | BindingSites, options: ControlOptions) -> str:
    where = (
        "all of the genome" if options.region == "all" else "the held-out part (--region all takes the whole genome)"
    )
    return f"{annotation}: no pair of any control in {where}: {size(bases.region):,} bp; annotated: {bases.contents()}"


def _model_scores(
    model: Model, genome: Genome, variants: Sequence[Variant], options: ScoreOptions
) -> Float[np.ndarray, " N"]:
    rows = [(v.name, v.start + 1, v.ref, v.alts[0]) for v in variants]
    table = score_variants(model, pd.DataFrame(rows, columns=["chrom", "pos", "ref", "alt"]), genome, options=options)
    return table["llr"].to_numpy(np.float64)


def _whole_pairs(
    drawn: list[ControlVariant], scores: dict[str, np.ndarray]
) -> tuple[list[ControlVariant], dict[str, np.ndarray]]:
    """Leave out pairs of which one has no score: every k-mer at its site has an unknown base."""
    kept = np.repeat(np.isfinite(scores["model"]).reshape(-1, 2).all(1), 2)
    return [v for v, keep in zip(drawn, kept, strict=True) if keep], {name: s[kept] for name, s in scores.items()}


def _aurocs(
    controls: Sequence[Control], drawn: Sequence[ControlVariant], scores: dict[str, np.ndarray]
) -> dict[str, dict[str, Interval]]:
    of_control, breaks = np.array([v.control for v in drawn]), np.array([v.breaks for v in drawn], bool)
    intervals: dict[str, dict[str, Interval]] = {}
    for control in controls:
        rows = of_control == control
        if rows.any():  # lower is less expected: negated, what breaks something is high
            groups = {name: evaluate_groups(-values[rows], breaks[rows]) for name, values in scores.items()}
            intervals[control] = {name: measures["AUROC"] for name, measures in groups.items()}
    return intervals


def _write(out: Path, drawn: Sequence[ControlVariant], scores: dict[str, Any]) -> None:
    with output_file(out) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        columns = [_COLUMNS[name] for name in scores]
        writer.writerow(["chrom", "pos", "ref", "alt", "strand", "control", "pair", "label", *columns])
        for row, (control, pair, breaks, strand, variant) in enumerate(drawn):
            own = [f"{values[row]:.6g}" for values in scores.values()]
            site = variant.name, variant.start + 1, variant.ref, variant.alts[0]
            writer.writerow([*site, strand, control, pair, int(breaks), *own])
