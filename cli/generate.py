"""``dnar2mae generate``."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import OmitArgPrefixes, Positional

from dnar2mae.cli.output import json_at_end
from dnar2mae.cli.parse import parse
from dnar2mae.density.options import GenerateOptions
from dnar2mae.errors import ConfigError

if TYPE_CHECKING:
    from dnar2mae.inference import TrainedModel


@dataclass(frozen=True, kw_only=True)
class GenerateCommand:
    """Draw sequences from a trained model, redraw regions of a genome, or fill its N.

    Example: dnar2mae generate runs/first --num 100 --length-bp 500 --report --out drawn.fa

    dnar2mae generate runs/first --prompt ATGGCT --out drawn.fa
    dnar2mae generate runs/first --genome G.fa --bed promoters.bed --mask 0.5 --out redrawn.fa
    dnar2mae generate runs/first --fill-n G.fa --steps 512 --out filled.fa

    A masked model trained on all ratios (--mask.law uniform --mask.low 0 --mask.high 1) is a density: bases are
    unmasked in a random order, some at each of --steps. Any run whose tokens are letters will do; texts are written as
    JSON lines.

    A check whose answer is known: dnar2mae generate runs/first --fill-check 200 --out gaps.json
    """

    model: Positional[Path]
    """Run directory, checkpoint, or exported folder."""
    out: Path
    """X.fa, X.fasta or X.fna; of text X.jsonl; of --fill-check X.json."""
    report: bool = False
    """Compare the sequences with held-out DNA and with draws of the best Markov model: k-mer spectra, GC, open frames,
    copies of the training genome. Writes X.report.json, X.report.csv and X.report.png."""
    genes: Path | None = None
    """--report: annotation of the training genome (GFF3, GTF, BED, GenBank); codons and stop codons of long open frames
    are compared with those of its genes."""
    fill_check: int = 0
    """Fill a gap in the middle of so many held-out windows instead, and count the right bases."""
    gap_bp: int = 30
    """--fill-check: length of a gap."""
    json: bool = False
    """Print counts, and the report or the check, as JSON, and all else on stderr."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes the first GPU, else the CPU."""
    drawing: OmitArgPrefixes[GenerateOptions] = field(default_factory=GenerateOptions)
    """What is drawn, and how."""

    def __post_init__(self) -> None:
        """Check that the report and the check fit what is drawn."""
        if self.fill_check and (self.out.suffix != ".json" or self.fill_check < 2 or self.gap_bp < 1):
            raise ConfigError(f"--fill-check needs two windows or more, a gap, and --out X.json, got {self.out}")
        if self.report and (self.drawing.bed or self.drawing.fill_n or self.fill_check):
            raise ConfigError("--report is for whole sequences: leave out --bed, --fill-n and --fill-check")
        if self.genes and not self.report:
            raise ConfigError(f"--genes is for --report, got --genes {self.genes} alone")


def run(argv: list[str]) -> int:
    """Parse, draw, write, print what was drawn."""
    command = parse(GenerateCommand, argv, prog="dnar2mae generate")
    from dnar2mae.inference import load

    trained = load(command.model, device=command.device)
    with json_at_end(command.json) as hand_over:
        result, lines = (_check if command.fill_check else _draw)(command, trained)
        print(*lines, f"Wrote {command.out}", sep="\n")
        hand_over(result)
    return 0


def _check(command: GenerateCommand, trained: "TrainedModel") -> tuple[Any, list[str]]:
    from dnar2mae.density.gap_check import check_gaps, gap_lines
    from dnar2mae.run.result import finite
    from dnar2mae.storage.safe_files import refuse_inputs, write_whole

    refuse_inputs(command.out, tuple(command.model.glob("*.json")))
    seed = command.drawing.seed
    report = check_gaps(trained, command.fill_check, command.gap_bp, seed=seed, progress=True)
    write_whole(command.out, json.dumps(finite(report), indent=1, allow_nan=False))
    return report, gap_lines(report)


def _draw(command: GenerateCommand, trained: "TrainedModel") -> tuple[Any, list[str]]:
    from dnar2mae.density.generate import write_drawn
    from dnar2mae.storage.safe_files import refuse_inputs

    usage = None
    if command.report:  # before hours of drawing
        from dnar2mae.density.report import usage_for_report

        usage = usage_for_report(trained, command.genes)
    refuse_inputs(command.out, (command.genes,))
    drawn = write_drawn(trained, command.drawing, command.out, progress=True)
    result: dict[str, Any] = {"sequences": len(drawn), "drawn": sum(one.drawn for one in drawn)}
    lines = [f"{result['sequences']:,} sequences, {result['drawn']:,} bases or tokens drawn"]
    window = trained.modality.layout.tokens * trained.modality.vocabulary.bases_per_token
    if not (command.drawing.bed or command.drawing.fill_n) and max(len(one.text) for one in drawn) > window:
        lines.append(f"longer than the windows of training ({window}): drawn by windows that overlap by half")
    if command.report:
        from dnar2mae.density.report import report_drawn, report_lines, write_report

        report = report_drawn(trained, drawn, command.drawing.seed, usage)
        written, result["report"] = write_report(report, command.out), report
        lines += [*report_lines(report), f"Report: {', '.join(map(str, written))}"]
    return result, lines
