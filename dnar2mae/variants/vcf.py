"""Score every record of a file of variants; records keep their order and all their fields."""

import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model
from dnar2mae.scoring.intervals import Interval, evaluate_groups
from dnar2mae.storage.compressed import without_compression
from dnar2mae.storage.progress import progress_bar
from dnar2mae.storage.remote import local_path
from dnar2mae.storage.safe_files import refuse_inputs
from dnar2mae.variants.alleles import SCORED, Site, Variant, judge
from dnar2mae.variants.files import SUFFIXES, Record, Variants, VariantTable, VcfFile
from dnar2mae.variants.scores import ScoreOptions, Scores, longest_allele, score_alleles, spread

MAX_MISMATCH_SHARE = 0.01
"""Share of REF mismatches above which the genome is taken to be the wrong one."""
_BLOCK = 256  # records scored together
_NO_POSITION = "no_position"


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """An INFO field or a column that sorts variants into two groups, to see how well scores tell them apart."""

    field: str
    """Its name. An INFO flag counts as 1 where it is set and as 0 elsewhere."""
    positive: tuple[str, ...] = ("1",)
    """Its values for variants expected to have low scores (harmful ones)."""
    negative: tuple[str, ...] = ("0",)
    """Its values for the others; variants with any other value are left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VcfReport:
    """Counts and scores of a file of variants."""

    records: int
    """Records read and written."""
    mismatches: int
    """Records whose REF differs from the genome."""
    alleles: dict[str, int]
    """Number of alternative alleles by status, and of records without any (``no_alt``)."""
    seconds: float
    """Time spent scoring and writing."""
    metrics: dict[str, Interval]
    """AUROC and AUPRC of the negative score, if labels were given."""
    groups: tuple[int, int] = (0, 0)
    """Scored alleles in the positive and in the negative group."""


def score_vcf(
    model: Model,
    vcf: str | Path,
    out: str | Path,
    *,
    genome: str | Path | Genome,
    options: ScoreOptions | None = None,
    labels: Labels | None = None,
    allow_mismatches: bool = False,
) -> VcfReport:
    """Score the variants of a VCF file.

    Parameters
    ----------
    model
        A model of objective ``mlm``.
    vcf
        VCF, BCF, or a TSV or CSV table, plain, gzip or bgzip, with columns chrom, pos (1-based), ref and alt, whose
        usual other names are known too (see :class:`dnar2mae.variants.files.VariantTable`). The contigs ``1`` and
        ``chr1`` are taken for each other, and so are ``MT`` and ``chrM``.
    out
        ``.vcf`` or ``.vcf.gz`` (bgzip): the input with the INFO fields ``R2MAE_LLR``, ``R2MAE_STATUS`` and, if asked
        for, ``R2MAE_DIST``, each with one value an alternative allele; or ``.tsv``: a line an allele. A table gets
        columns of these names, and comes out as ``.tsv``.
    genome
        The sequence file that the VCF refers to, or that of :func:`dnar2mae.genome.store.open_genomes`.
    options
        Window, strands, distance.
    labels
        Groups to tell apart.
    allow_mismatches
        Go on, without scoring these records, when the REF of more than 1 % of the records is not the genome's.

    Returns
    -------
    VcfReport
        Counts by status: ``scored``; ``ref_mismatch``; ``ref_unknown`` (REF or the genome has another letter than
        A, C, G, T); ``alt_unknown`` (``<DEL>``, ``*``, breakends, N); ``alt_is_ref``; ``outside`` (past the end of the
        sequence); ``no_contig``; ``no_position`` (in a table); ``too_long`` (an allele that leaves under half the
        window as context); ``no_context`` (no known token at the site); ``no_alt``.

    Warns
    -----
    UserWarning
        If rows of a table have no position.

    Raises
    ------
    SequenceError
        If the variants or the genome cannot be read, no record lies on a sequence of the genome, or too many REFs
        differ.
    ConfigError
        If the output is an input, has an unknown suffix or cannot be written, or the file has no such labels or only
        one group of them.
    RunError
        If the model has no masked predictions.
    """
    options, vcf, out = options or ScoreOptions(), local_path(vcf), Path(out)
    opened = genome if isinstance(genome, Genome) else Genome.open(genome)
    refuse_inputs(out, (vcf, opened.path, opened.report.path if opened.report else None))
    longest = longest_allele(model, options)
    is_table = without_compression(vcf.name).lower().endswith(SUFFIXES)
    variants: Variants = VariantTable(vcf) if is_table else VcfFile(vcf)
    if labels and not variants.has_field(labels.field):
        what = "a column of" if is_table else "an INFO field that the header declares in"
        raise ConfigError(f"--evaluate must name {what} {vcf}, got {labels.field}")
    total, mismatches = _survey(vcf, variants, opened, longest, labels, allow_mismatches=allow_mismatches)
    started = time.monotonic()
    alleles: Counter[str] = Counter()
    groups: dict[bool, list[float]] = {True: [], False: []}
    with (
        variants.writer(out, distance=options.distance, source=model.source) as writer,
        progress_bar("scoring variants", total, at_once=True) as bar,
    ):
        for record, scores, statuses in _scored(model, opened, variants.records(), options):
            writer.write(record, scores, statuses)
            alleles.update(statuses or ["no_alt"])
            if labels:
                _collect(groups, labels, variants, record, scores.ratio)
            bar.advance()
    return VcfReport(
        records=total,
        mismatches=mismatches,
        alleles=dict(alleles.most_common()),
        seconds=time.monotonic() - started,
        metrics=_metrics(groups, labels) if labels else {},
        groups=(len(groups[True]), len(groups[False])),
    )


def _scored(
    model: Model, genome: Genome, records: Iterator[Record], options: ScoreOptions
) -> Iterator[tuple[Record, Scores, list[str]]]:
    """Yield records in order, with the scores and the status of each of their alternative alleles."""
    longest = longest_allele(model, options)
    for block in _blocks(records):
        sites = [_judge(record, genome, longest) for record in block]
        scored = score_alleles(model, genome, [site.alleles for site in sites], options)
        for record, site, own in zip(block, sites, scored, strict=True):
            scores = spread(site, own)
            yield record, scores, _with_no_context(site.statuses, scores)


def _survey(
    vcf: Path, variants: Variants, genome: Genome, longest: int, labels: Labels | None, *, allow_mismatches: bool
) -> tuple[int, int]:
    """Read the whole file once, before any work, and count records and REF mismatches."""
    groups: dict[bool, list[float]] = {True: [], False: []}
    total = mismatches = placed = without_position = 0
    first = ""
    record = None
    for record in variants.records():
        site = _judge(record, genome, longest)
        total += 1
        mismatches += site.mismatch
        if labels:
            # Any number will do: only whether both groups will have scores is asked here.
            expected = np.where(np.array(site.statuses, str) == SCORED, 0.0, np.nan)
            _collect(groups, labels, variants, record, expected)
        placed += genome.find(record.chrom) is not None
        without_position += record.pos is None
        if site.mismatch and record.pos and not first:
            name = genome.find(record.chrom) or ""
            letters = genome.fetch(name, record.pos - 1, record.pos - 1 + len(record.ref))
            first = f"{record.chrom}:{record.pos} has {record.ref}, the genome {letters.upper()}"
    if record is None:
        raise SequenceError(f"{vcf}: no record in this file")
    if not placed:
        raise SequenceError(f"{vcf}: no record lies on a sequence of the genome: {genome.unknown(record.chrom)}")
    if mismatches > MAX_MISMATCH_SHARE * placed and not allow_mismatches:
        raise SequenceError(
            f"{vcf}: REF differs from {genome.path} at {mismatches} of {placed} records, first {first}; is it the "
            "right genome? --allow-mismatches goes on and leaves them unscored"
        )
    if without_position:
        warnings.warn(f"{vcf}: {without_position} of {total} rows have no position: they are not scored", stacklevel=3)
    if labels:
        _need_both(groups, labels)
    return total, mismatches


def _blocks(records: Iterable[Record]) -> Iterator[list[Record]]:
    records = iter(records)
    while block := list(islice(records, _BLOCK)):
        yield block


def _judge(record: Record, genome: Genome, longest: int) -> Site:
    """Compare a record with the genome."""
    if record.pos is None:
        return Site((), [_NO_POSITION] * len(record.alts))
    return judge(genome, Variant(record.chrom, record.pos - 1, record.ref, record.alts), longest)


def _with_no_context(statuses: list[str], scores: Scores) -> list[str]:
    missing = np.isnan(scores.ratio)
    return ["no_context" if s == SCORED and none else s for s, none in zip(statuses, missing, strict=True)]


def _collect(
    groups: dict[bool, list[float]], labels: Labels, variants: Variants, record: Record, ratios: Float[np.ndarray, " A"]
) -> None:
    for allele, ratio in enumerate(ratios):
        label = None if np.isnan(ratio) else variants.label(record, labels.field, allele)
        if label in labels.positive or label in labels.negative:
            groups[label in labels.positive].append(-float(ratio))  # harmful variants score low: high when negated


def _need_both(groups: dict[bool, list[float]], labels: Labels) -> None:
    if not groups[True] or not groups[False]:
        raise ConfigError(
            f"--evaluate {labels.field} needs scored variants with values of --positive ({', '.join(labels.positive)}) "
            f"and of --negative ({', '.join(labels.negative)}), got {len(groups[True])} and {len(groups[False])}"
        )


def _metrics(groups: dict[bool, list[float]], labels: Labels) -> dict[str, Interval]:
    _need_both(groups, labels)
    positives, negatives = groups[True], groups[False]
    is_positive = np.arange(len(positives) + len(negatives)) < len(positives)
    return evaluate_groups(np.array(positives + negatives), is_positive)
