"""``dnar2mae score-variants``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from dnar2mae.cli.output import json_at_end
from dnar2mae.cli.parse import parse
from dnar2mae.errors import ConfigError

if TYPE_CHECKING:
    from dnar2mae.inference import Model
    from dnar2mae.variants import ScoreOptions
    from dnar2mae.variants.controls import ControlsReport
    from dnar2mae.variants.vcf import VcfReport


@dataclass(frozen=True, kw_only=True)
class ScoreVariantsCommand:
    """Score the variants of a VCF file or a table: how much less likely the model finds ALT than REF.

    Example: dnar2mae score-variants runs/first --genome G.fa --vcf in.vcf.gz --out scored.vcf.gz

    Substitutions: log-likelihood ratio at the masked site. Insertions and deletions: difference of
    pseudo-log-likelihoods around the site. In nats, both strands averaged; lower is less expected.

    With an annotation instead of variants, a check of the model whose answer is known:
    dnar2mae score-variants runs/first --genome G.fa --controls genes.gff3 --out controls.csv

    With the weight matrices of annotated binding sites, also what a model can reach:
    dnar2mae score-variants runs/sim --genome sim.fa --controls sim.gff3 --matrices sim.meme --out sites.csv

    All three substitutions of every base:
    dnar2mae score-variants runs/first --genome G.fa --every-substitution --bed genes.bed --snv fast --out all.vcf.gz
    """

    model: Positional[Path]
    """Run directory, checkpoint, or exported folder."""
    genome: Path
    """Sequence file that the VCF or the annotation refers to; also an address (https://, s3://, gs://)."""
    out: Path
    """X.vcf or X.vcf.gz (the input with INFO fields R2MAE_*), or X.tsv (a line an allele; for a table, a row); of
    controls X.csv (a line a variant)."""
    vcf: Path | None = None
    """VCF (plain, gzip, bgzip), BCF, or TSV/CSV with chrom, pos (1-based), ref, alt; 1 and chr1 are the same contig."""
    controls: Path | None = None
    """GFF3, GTF, BED, GenBank or EMBL file to draw pairs from: a stop codon gained, a splice site broken or a start
    codon lost, each against the same change where it breaks nothing; prints AUROCs, those of k-mer counts too."""
    every_substitution: Annotated[bool, arg(name="every-substitution")] = False
    """In place of --vcf: all three substitutions of every base of the genome, or of --bed."""
    bed: Path | None = None
    """every-substitution: BED file, only its regions."""
    assembly_report: Path | None = None
    """NCBI's *_assembly_report.txt of the genome: the other file may then name sequences by accession, as chr1 or 1."""
    matrices: Path | None = None
    """controls: file in MEME's minimal format; draws pairs of sites that the annotation calls by a matrix's name, one
    broken and one far from all, and prints the AUROC of the matrices too."""
    pairs: int = 700
    """controls: most pairs of each."""
    region: Literal["held-out", "all"] = "held-out"
    """controls: draw pairs from what the run held out, or from all of the genome."""
    seed: int = 0
    """Seed of the draw of controls, and of the sites of --calibrate."""
    window_bp: int | None = None
    """Sequence around a variant that the model sees. By default the length of the training windows."""
    one_strand: Annotated[bool, arg(name="one-strand")] = False
    """Score the forward strand only, in half the time. Where the model shares weights between the strands, ratios are
    the same on both, and only one is computed anyway."""
    distance: bool = False
    """Also compute the distance of the alleles' embeddings; takes about three times as long."""
    snv: Literal["exact", "fast"] = "exact"
    """fast masks every 8th base at once, as tracks do, for sites that lie close together: with --every-substitution in
    a fraction of the time, nearly the same scores."""
    indel: Literal["exact", "fast"] = "exact"
    """fast scores insertions and deletions in a quarter to a ninth of the time, in nearly the same order: see the
    documentation."""
    indel_flank_bp: int = 4
    """Bases on either side of an insertion or deletion that count in its score."""
    calibrate: bool = False
    """Also give the percentile of each substitution among those of the same trinucleotide in this genome; the scores
    of the sites that are drawn for it are kept in the run's folder."""
    calibration_sites: int = 256
    """calibrate: sites of each of the 32 trinucleotides."""
    workers: int = 0
    """Processes that score on a CPU, with a thread each; 0: this one, with its threads."""
    zero_based: bool = False
    """Positions of a table count from 0."""
    allow_mismatches: bool = False
    """Go on when REF differs from the genome in more than 1 % of the records (they are never scored)."""
    evaluate: str | None = None
    """INFO field or column with groups: print how well scores tell them apart (AUROC, AUPRC with 95 % intervals)."""
    positive: tuple[str, ...] = ("1",)
    """Values of that field for variants expected to score low (harmful ones)."""
    negative: tuple[str, ...] = ("0",)
    """Values for the others; variants with any other value are left out."""
    correlate: str | None = None
    """INFO field or column with a number, such as a measured effect: print Spearman's correlation with the scores."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 runs matrix products in bfloat16: faster where the hardware has it, scores differ by about 0.01."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes the first GPU, else the CPU."""
    json: bool = False
    """Print counts and AUROCs as JSON, and all else on stderr."""

    def __post_init__(self) -> None:
        """Check that there is one input, and no setting of the other."""
        inputs = {"vcf": self.vcf, "controls": self.controls, "every_substitution": self.every_substitution}
        given, *more = [name for name, value in inputs.items() if value] or [""]
        if more or not given:
            raise ConfigError(
                "give one of --vcf (variants to score), --controls (an annotation to draw them from) and "
                "--every-substitution (of the genome, or of --bed)"
            )
        for name in _NOT_WITH[given]:
            if getattr(self, name) != self.__dataclass_fields__[name].default:
                raise ConfigError(f"{_flag(name)} has no effect with {_flag(given)}: leave it out")
        unused = {"calibration_sites": 256, "seed": 0} if self.controls is None and not self.calibrate else {}
        for name, default in unused.items():
            if getattr(self, name) != default:
                raise ConfigError(f"{_flag(name)} has no effect without --calibrate: leave it out")
        if self.evaluate and self.correlate:
            raise ConfigError("give either --evaluate (groups) or --correlate (numbers)")


_OF_CONTROLS = ("matrices", "pairs", "region")
_OF_INDELS = ("indel", "indel_flank_bp")
_OF_GROUPS = ("evaluate", "positive", "negative", "correlate")
_OF_FILES = ("zero_based", "allow_mismatches", *_OF_INDELS, *_OF_GROUPS)
_NOT_WITH = {
    "vcf": ("bed", *_OF_CONTROLS),
    "controls": ("bed", "distance", "calibrate", "calibration_sites", *_OF_FILES),
    "every_substitution": (*_OF_CONTROLS, *_OF_FILES),
}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def run(argv: list[str]) -> int:
    """Parse, score, print the counts or the table of controls."""
    command = parse(ScoreVariantsCommand, argv, prog="dnar2mae score-variants")
    from dnar2mae.inference import Model
    from dnar2mae.variants import ScoreOptions

    options = ScoreOptions(
        window_bp=command.window_bp,
        both_strands=not command.one_strand,
        distance=command.distance,
        snv=command.snv,
        indel=command.indel,
        indel_flank_bp=command.indel_flank_bp,
        calibrate=command.calibrate,
        calibration_sites=command.calibration_sites,
        seed=command.seed,
        workers=command.workers,
        precision=command.precision,
    )
    score = _score_vcf if command.controls is None else _score_controls
    with json_at_end(command.json) as hand_over:
        report, lines = score(command, Model.from_pretrained(command.model, device=command.device), options)
        print(*lines, f"Wrote {command.out}", sep="\n")
        hand_over(report)
    return 0


def _score_vcf(command: ScoreVariantsCommand, model: "Model", options: "ScoreOptions") -> "tuple[VcfReport, list[str]]":
    from dnar2mae.genome.store import open_genomes
    from dnar2mae.storage.safe_files import refuse_inputs
    from dnar2mae.variants import EverySubstitution, Labels, Measured, ReadOptions, score_vcf

    labels: Labels | Measured | None = Measured(field=command.correlate) if command.correlate else None
    if command.evaluate:
        labels = Labels(field=command.evaluate, positive=command.positive, negative=command.negative)
    refuse_inputs(command.out, (command.vcf, command.bed, command.genome, command.assembly_report))
    (genome,) = open_genomes([command.genome], command.assembly_report)
    report = score_vcf(
        model,
        command.vcf or EverySubstitution(genome, command.bed),
        command.out,
        genome=genome,
        options=options,
        labels=labels,
        reading=ReadOptions(zero_based=command.zero_based, allow_mismatches=command.allow_mismatches),
    )
    counts = ", ".join(f"{count:,} {status}" for status, count in report.alleles.items())
    groups = f"{report.groups[0]:,} positive and {report.groups[1]:,} negative alleles"
    used = f"{report.measured:,} alleles with a number" if command.correlate else groups
    return report, [
        f"{report.records:,} records, {report.mismatches:,} REF mismatches; alleles: {counts}",
        f"{report.seconds:.0f} s, {60 * report.records / max(report.seconds, 1e-9):,.0f} records a minute",
        *(f"{name} {interval}, {used}" for name, interval in report.metrics.items()),
    ]


def _score_controls(
    command: ScoreVariantsCommand, model: "Model", options: "ScoreOptions"
) -> "tuple[ControlsReport, list[str]]":
    from dnar2mae.variants import ControlOptions, score_controls

    assert command.controls is not None
    report = score_controls(
        model,
        command.controls,
        command.out,
        genome=command.genome,
        matrices=command.matrices,
        score=options,
        options=ControlOptions(
            pairs=command.pairs, region=command.region, seed=command.seed, assembly_report=command.assembly_report
        ),
    )
    return report, [*report.lines(), f"{report.seconds:.0f} s"]
