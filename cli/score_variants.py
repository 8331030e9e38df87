"""``dnar2mae score-variants``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from dnar2mae.cli.parse import parse


@dataclass(frozen=True, kw_only=True)
class ScoreVariantsCommand:
    """Score the variants of a VCF file or a table: how much less likely the model finds ALT than REF.

    Example: dnar2mae score-variants runs/first --genome G.fa --vcf in.vcf.gz --out scored.vcf.gz

    Substitutions: log-likelihood ratio at the masked site. Insertions and deletions: difference of
    pseudo-log-likelihoods around the site. In nats, both strands averaged; lower is less expected.
    """

    model: Positional[Path]
    """Run directory, checkpoint, or exported folder."""
    genome: Path
    """Sequence file that the VCF refers to."""
    vcf: Path
    """VCF (plain or bgzip), BCF, or TSV/CSV with chrom, pos (1-based), ref, alt; 1 and chr1 are the same contig."""
    out: Path
    """X.vcf or X.vcf.gz (the input with INFO fields R2MAE_*), or X.tsv (a line an allele; for a table, a row)."""
    window_bp: int | None = None
    """Sequence around a variant that the model sees. By default the length of the training windows."""
    one_strand: Annotated[bool, arg(name="one-strand")] = False
    """Score the forward strand only, in half the time."""
    distance: bool = False
    """Also compute the distance of the alleles' embeddings; takes about three times as long."""
    indel_flank_bp: int = 4
    """Bases on either side of an insertion or deletion that count in its score."""
    allow_mismatches: bool = False
    """Go on when REF differs from the genome in more than 1 % of the records (they are never scored)."""
    evaluate: str | None = None
    """INFO field or column with groups: print how well scores tell them apart (AUROC, AUPRC with 95 % intervals)."""
    positive: tuple[str, ...] = ("1",)
    """Values of that field for variants expected to score low (harmful ones)."""
    negative: tuple[str, ...] = ("0",)
    """Values for the others; variants with any other value are left out."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 runs matrix products in bfloat16: faster where the hardware has it, scores differ by about 0.01."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes the first GPU, else the CPU."""


def run(argv: list[str]) -> int:
    """Parse, score, print the counts."""
    command = parse(ScoreVariantsCommand, argv, prog="dnar2mae score-variants")
    from dnar2mae.inference import Model
    from dnar2mae.variants import Labels, ScoreOptions, score_vcf

    labels = None
    if command.evaluate:
        labels = Labels(field=command.evaluate, positive=command.positive, negative=command.negative)
    report = score_vcf(
        Model.from_pretrained(command.model, device=command.device),
        command.vcf,
        command.out,
        genome=command.genome,
        options=ScoreOptions(
            window_bp=command.window_bp,
            both_strands=not command.one_strand,
            distance=command.distance,
            indel_flank_bp=command.indel_flank_bp,
            precision=command.precision,
        ),
        labels=labels,
        allow_mismatches=command.allow_mismatches,
    )
    counts = ", ".join(f"{count:,} {status}" for status, count in report.alleles.items())
    print(f"{report.records:,} records, {report.mismatches:,} REF mismatches; alleles: {counts}")
    print(f"{report.seconds:.0f} s, {60 * report.records / max(report.seconds, 1e-9):,.0f} records a minute")
    for name, interval in report.metrics.items():
        print(f"{name} {interval}, {report.groups[0]:,} positive and {report.groups[1]:,} negative alleles")
    print(f"Wrote {command.out}")
    return 0
