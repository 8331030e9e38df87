"""``dnar2mae predict``."""

from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import OmitArgPrefixes, Positional

from dnar2mae.cli.output import json_at_end
from dnar2mae.cli.parse import parse
from dnar2mae.finetuning.options import PredictOptions


@dataclass(frozen=True, kw_only=True)
class PredictCommand:
    """Apply a fine-tuned model to a file.

    Example: dnar2mae predict runs/promoters new.fa --out predictions.csv

    A model of values per base takes a whole genome (or regions of it) by windows that overlap, and writes a track:
    dnar2mae predict runs/coding genome.fa --out coding.bw
    """

    model: Positional[Path]
    """Fine-tuned run."""
    input: Positional[str]
    """FASTA, GenBank or .2bit, CSV, TSV or parquet with a column sequence, BED or chrom, start, end with --genome; or
    what the model's modality reads."""
    out: Path
    """X.csv, X.tsv or X.parquet; of values per base also X.bw or X.bedgraph."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes the first GPU, else the CPU."""
    json: bool = False
    """Print what was written as JSON, and all else on stderr."""
    prediction: OmitArgPrefixes[PredictOptions] = field(default_factory=PredictOptions)
    """Genome, strands, windows."""


def run(argv: list[str]) -> int:
    """Parse, predict, print what was written."""
    command = parse(PredictCommand, argv, prog="dnar2mae predict")
    from dnar2mae.finetuning.prediction import predict

    with json_at_end(command.json) as hand_over:
        written = predict(command.model, command.input, command.out, device=command.device, options=command.prediction)
        print(f"Wrote {', '.join(written.files)}: {written.rows:,} {written.what}, by {written.source}")
        hand_over(written)
    return 0
