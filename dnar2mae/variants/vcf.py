"""Score every record of a file of variants; records keep their order and all their fields."""

import time
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model
from dnar2mae.scoring.intervals import Interval
from dnar2mae.storage.compressed import without_compression
from dnar2mae.storage.progress import progress_bar
from dnar2mae.storage.remote import local_path
from dnar2mae.storage.safe_files import refuse_inputs
from dnar2mae.variants.allele_windows import longest_allele
from dnar2mae.variants.alleles import SCORED
from dnar2mae.variants.evaluation import Evaluation, Labels, Measured
from dnar2mae.variants.files import SUFFIXES, Variants, VariantTable, VcfFile, field_names
from dnar2mae.variants.options import ScoreOptions
from dnar2mae.variants.records import score_records
from dnar2mae.variants.saturation import EverySubstitution
from dnar2mae.variants.survey import Survey, judge_record


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadOptions:
    """How a file of variants is read."""

    zero_based: bool = False
    """Positions of a table count from 0."""
    allow_mismatches: bool = False
    """Go on, without scoring these records, when the REF of more than 1 % of the records is not the genome's."""


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
    """AUROC and AUPRC of the negative score if labels were given; Spearman's correlation if numbers were."""
    groups: tuple[int, int] = (0, 0)
    """Scored alleles in the positive and in the negative group."""
    measured: int = 0
    """Scored alleles with a number."""


def score_vcf(
    model: Model,
    vcf: str | Path | EverySubstitution,
    out: str | Path,
    *,
    genome: str | Path | Genome,
    options: ScoreOptions | None = None,
    labels: Labels | Measured | None = None,
    reading: ReadOptions | None = None,
) -> VcfReport:
    """Score the variants of a VCF file; :func:`dnar2mae.score_variants` gives the same as a DataFrame.

    Parameters
    ----------
    model
        A model of objective ``mlm``.
    vcf
        VCF, BCF, or a TSV or CSV table, plain, gzip or bgzip, with columns chrom, pos (1-based), ref and alt, whose
        usual other names are known too (see :class:`dnar2mae.variants.files.VariantTable`). The contigs ``1`` and
        ``chr1`` are taken for each other, and so are ``MT`` and ``chrM``. Or all substitutions of a genome.
    out
        ``.vcf`` or ``.vcf.gz`` (bgzip): the input with the INFO fields ``R2MAE_LLR``, ``R2MAE_STATUS`` and, if asked
        for, ``R2MAE_DIST`` and ``R2MAE_PCT``, each with one value an alternative allele; or ``.tsv``: a line an allele.
        A table gets columns of these names, and comes out as ``.tsv``.
    genome
        The sequence file that the VCF refers to, or that of :func:`dnar2mae.genome.store.open_genomes`.
    options
        Window, strands, distance, percentiles.
    labels
        Groups to tell apart, or numbers to compare with.
    reading
        Where positions begin, and whether a wrong genome stops the work.

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
    options, reading, out = options or ScoreOptions(), reading or ReadOptions(), Path(out)
    opened = genome if isinstance(genome, Genome) else Genome.open(genome)
    variants: Variants = (
        vcf if isinstance(vcf, EverySubstitution) else open_variants(local_path(vcf), zero_based=reading.zero_based)
    )
    refuse_inputs(out, (variants.path, opened.path, opened.report.path if opened.report else None))
    if labels and not variants.has_field(labels.field):
        what = "a column of" if isinstance(variants, VariantTable) else "an INFO field that the header declares in"
        flag = "--evaluate" if isinstance(labels, Labels) else "--correlate"
        raise ConfigError(f"{flag} must name {what} {variants.path}, got {labels.field}")
    longest = longest_allele(model, options)
    counts = _survey(variants, opened, longest, labels, reading)
    started = time.monotonic()
    alleles: Counter[str] = Counter()
    evaluation = Evaluation(labels)
    records = score_records(model, opened, variants.records(), options, zero_based=reading.zero_based)
    with (
        variants.writer(out, field_names(options), model.source) as writer,
        progress_bar("scoring variants", counts.records, at_once=True) as bar,
    ):
        for record, scores, statuses in records:
            writer.write(record, scores, statuses)
            alleles.update(statuses or ["no_alt"])
            evaluation.add(variants, record, scores.ratio)
            bar.advance()
    return VcfReport(
        records=counts.records,
        mismatches=counts.mismatches,
        alleles=dict(alleles.most_common()),
        seconds=time.monotonic() - started,
        metrics=evaluation.metrics(),
        groups=(len(evaluation.groups[True]), len(evaluation.groups[False])),
        measured=len(evaluation.pairs),
    )


def open_variants(path: Path, *, zero_based: bool = False) -> VariantTable | VcfFile:
    """Open a file of variants: a table by its suffix, else a VCF or BCF.

    Raises
    ------
    SequenceError
        If it cannot be read.
    ConfigError
        If positions of a VCF are said to count from 0.
    """
    if without_compression(path.name).lower().endswith(SUFFIXES):
        return VariantTable(path)
    if zero_based:
        raise ConfigError(f"--zero-based is for tables: positions of a VCF such as {path} count from 1")
    return VcfFile(path)


def _survey(
    variants: Variants,
    genome: Genome,
    longest: int,
    labels: Labels | Measured | None,
    reading: ReadOptions,
) -> Survey:
    """Read the whole file once, before any work, and refuse what cannot be meant."""
    counts, evaluation = Survey(), Evaluation(labels)
    for record in variants.records():
        site = judge_record(record, genome, longest, zero_based=reading.zero_based)
        counts.add(record, site, genome, zero_based=reading.zero_based)
        # Any number will do: only whether there will be enough scores is asked here.
        evaluation.add(variants, record, np.where(np.array(site.statuses, str) == SCORED, 0.0, np.nan))
    fault = counts.fault(genome, zero_based=reading.zero_based)
    if fault and not (counts.placed and reading.allow_mismatches):
        advice = " --allow-mismatches goes on and leaves them unscored" if fault.endswith("?") else ""
        raise SequenceError(f"{variants.path}: {fault}{advice}")
    if note := counts.note():
        warnings.warn(f"{variants.path}: {note}", stacklevel=3)
    evaluation.require_enough()
    return counts
