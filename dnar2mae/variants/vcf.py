"""Score every record of a file of variants; records keep their order and all their fields."""

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.genome.alphabet import SOFT_MASK, UNKNOWN, encode
from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model
from dnar2mae.scoring.intervals import Interval, evaluate_groups
from dnar2mae.storage.compressed import without_compression
from dnar2mae.storage.progress import progress_bar
from dnar2mae.storage.remote import local_path
from dnar2mae.variants.files import SUFFIXES, Variants, VariantTable, VcfFile
from dnar2mae.variants.scores import ScoreOptions, Scores, Variant, longest_allele, score_variants

MAX_MISMATCH_SHARE = 0.01
"""Share of REF mismatches above which the genome is taken to be the wrong one."""
_BLOCK = 256  # records scored together
_BASES = re.compile("[ACGT]+")


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


class _Site(NamedTuple):
    """A record after the comparison with the genome."""

    variant: Variant | None
    """Its alleles that can be scored."""
    statuses: list[str]
    """One an alternative allele."""
    mismatch: bool


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
        VCF (plain or bgzip), BCF, or a TSV or CSV table (plain or gzip) with columns chrom, pos (1-based), ref and
        alt, whose usual other names are known too. The contigs ``1`` and ``chr1`` are taken for each other, and so
        are ``MT`` and ``chrM``.
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
        A, C, G, T); ``alt_unknown`` (``<DEL>``, ``*``, breakends, N); ``outside`` (past the end of the sequence);
        ``no_contig``; ``too_long`` (an allele that leaves under half the window as context); ``no_context`` (no
        known token at the site); ``no_alt``.

    Raises
    ------
    SequenceError
        If the variants or the genome cannot be read, no record lies on a sequence of the genome, or too many REFs
        differ.
    ConfigError
        If the output's suffix is unknown, it cannot be written, or the file has no such labels or not both groups.
    RunError
        If the model has no masked predictions.
    """
    options, vcf, out = options or ScoreOptions(), local_path(vcf), Path(out)
    opened = genome if isinstance(genome, Genome) else Genome.open(genome)
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
        for block in _blocks(variants.records()):
            sites = [_judge(record, opened, longest) for record in block]
            scored = iter(score_variants(model, opened, [s.variant for s in sites if s.variant], options))
            for record, site in zip(block, sites, strict=True):
                scores, statuses = _spread(site, next(scored) if site.variant else None)
                writer.write(record, scores, statuses)
                alleles.update(statuses or ["no_alt"])
                if labels:
                    _collect(groups, labels, variants, record, scores.ratio)
            bar.advance(len(block))
    return VcfReport(
        records=total,
        mismatches=mismatches,
        alleles=dict(alleles.most_common()),
        seconds=time.monotonic() - started,
        metrics=_metrics(groups, labels) if labels else {},
        groups=(len(groups[True]), len(groups[False])),
    )


def _survey(
    vcf: Path, variants: Variants, genome: Genome, longest: int, labels: Labels | None, *, allow_mismatches: bool
) -> tuple[int, int]:
    """Read the whole file once, before any work, and count records and REF mismatches."""
    groups: dict[bool, list[float]] = {True: [], False: []}
    total = mismatches = placed = 0
    first = ""
    record = None
    for record in variants.records():
        site = _judge(record, genome, longest)
        total += 1
        mismatches += site.mismatch
        if labels:
            # Any number will do: only whether both groups will have scores is asked here.
            expected = np.where(np.array(site.statuses, str) == "scored", 0.0, np.nan)
            _collect(groups, labels, variants, record, expected)
        placed += genome.find(record.chrom) is not None
        if site.mismatch and not first:
            name = genome.find(record.chrom) or ""
            letters = genome.fetch(name, record.start, record.start + len(record.ref))
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
    if labels:
        _need_both(groups, labels)
    return total, mismatches


def _blocks(records: Iterable[Any]) -> Iterator[list[Any]]:
    records = iter(records)
    while block := list(islice(records, _BLOCK)):
        yield block


def _judge(record: Any, genome: Genome, longest: int) -> _Site:
    """Compare a record with the genome."""
    alts = [alt.upper() for alt in record.alts or ()]
    name, ref = genome.find(record.chrom), record.ref.upper()
    start, end = record.start, record.start + len(ref)
    fault = ""
    if name is None:
        fault = "no_contig"
    elif start < 0 or end > genome.lengths[genome.index[name]]:
        fault = "outside"
    else:
        codes = genome.codes(name, start, end) & ~np.uint8(SOFT_MASK)
        if not _BASES.fullmatch(ref) or (codes >= UNKNOWN).any():
            fault = "ref_unknown"
        elif (encode(ref.encode()) != codes).any():
            fault = "ref_mismatch"
        elif len(ref) > longest:
            fault = "too_long"
    if fault or name is None:
        return _Site(None, [fault] * len(alts), fault == "ref_mismatch")
    statuses = ["scored" if _BASES.fullmatch(alt) else "alt_unknown" for alt in alts]
    statuses = ["too_long" if len(alt) > longest else status for alt, status in zip(alts, statuses, strict=True)]
    good = tuple(alt for alt, status in zip(alts, statuses, strict=True) if status == "scored")
    return _Site(Variant(name, start, ref, good) if good else None, statuses, mismatch=False)


def _spread(site: _Site, scores: Scores | None) -> tuple[Scores, list[str]]:
    """Return scores and statuses of all alleles, NaN for those that were not scored."""
    ratio, distance = np.full((2, len(site.statuses)), np.nan)
    statuses = list(site.statuses)
    if scores is not None:
        good = [i for i, status in enumerate(statuses) if status == "scored"]
        ratio[good], distance[good] = scores
        statuses = [
            "no_context" if status == "scored" and np.isnan(value) else status
            for status, value in zip(statuses, ratio, strict=True)
        ]
    return Scores(ratio, distance), statuses


def _collect(
    groups: dict[bool, list[float]], labels: Labels, variants: Variants, record: Any, ratios: Float[np.ndarray, " A"]
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
