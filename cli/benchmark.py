"""``dnar2mae benchmark``: judge models on suites of sequence-classification tasks, and make suites."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, subcommand

from dnar2mae.cli.parse import parse

_ABOUT = "Judge models on suites of sequence-classification tasks, and make suites from an annotated genome."
Method = Literal["probe", "knn", "finetune", "lora"]


@dataclass(frozen=True, kw_only=True)
class RunCommand:
    """Judge models on a suite.

    Example: dnar2mae benchmark run gue --data GUE --model runs/first --out runs/gue

    Every model runs beside its own architecture with random weights, k-mer counts and a small CNN. A run that was
    interrupted goes on where it stopped when the command is given again.
    """

    suite: Positional[str]
    """gue, genomic_benchmarks, nucleotide_transformer, or the folder of a suite of your own."""
    out: Path
    """Folder for results.jsonl, predictions/, the report and the tables."""
    data: Path | None = None
    """Folder of the data sets; by default the suite's own folder."""
    model: tuple[str, ...] = ()
    """Runs, checkpoints, exported or local Hugging Face folders, each as PATH or NAME=PATH."""
    method: tuple[Method, ...] = ("probe",)
    """probe: logistic regression on frozen vectors; knn: nearest neighbours; finetune: all weights; lora."""
    protocol: str = "dnar2mae-v1"
    """dnar2mae-v1, gue/dnabert2-v1, or a YAML file."""
    tasks: tuple[str, ...] = ()
    """Only these tasks, as tf/0 or prom_core_tata."""
    seeds: int | None = None
    """How many seeds, for what depends on one; by default the protocol's."""
    baselines: tuple[Literal["random", "kmer", "cnn"], ...] = ("random", "kmer", "cnn")
    """Controls to run: random weights of each model, k-mer counts, the small CNN."""
    both_strands: bool = False
    """Average over a sequence and its reverse complement."""
    allow_truncation: bool = False
    """Let a model with a limited context see the beginning only of longer sequences."""
    trust_remote_code: bool = False
    """Run Python code that a Hugging Face folder brings with it."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes the first GPU, else the CPU."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 runs the encoders' matrix products in bfloat16: faster where the hardware has it, rounded to 3 digits."""
    workers: int = 1
    """Cells in parallel, each in a process with a share of the cores."""

    def run(self) -> int:
        """Run, print the table, write the report."""
        from dnar2mae.benchmarks.reporting.console import run_and_print

        return run_and_print(self)


@dataclass(frozen=True, kw_only=True)
class ReportCommand:
    """Write the report of a results folder again: report.md, report.html, tables and plots."""

    out: Positional[Path]
    """The folder that ``benchmark run`` has written."""

    def run(self) -> int:
        """Write, print what was written."""
        from dnar2mae.benchmarks.reporting.report import write_report

        for path in write_report(self.out):
            print(f"Wrote {path}")
        return 0


@dataclass(frozen=True, kw_only=True)
class ListCommand:
    """List suites and protocols, or the tasks of a suite and which of them a data folder has."""

    suite: Positional[str | None] = None
    """A suite."""
    data: Path | None = None
    """Where its data sets may be."""

    def run(self) -> int:
        """Print."""
        from dnar2mae.benchmarks.reporting.console import print_list

        return print_list(self.suite, self.data)


@dataclass(frozen=True, kw_only=True)
class BuildCommand:
    """Make a suite from an annotated genome.

    Example: dnar2mae benchmark build --genome genome.fa --annotation genes.gff3 --out suites/mine

    Tasks that the annotation has too few features for are named and left out.
    """

    genome: Path
    """FASTA or GenBank file."""
    annotation: Path
    """GFF3, GTF, BED or GenBank file, plain or gzip."""
    out: Path
    """Folder of the new suite."""
    tasks: tuple[Literal["promoter", "coding", "splice", "gene_start", "strand"], ...] = (
        "promoter",
        "coding",
        "splice",
        "gene_start",
        "strand",
    )
    """promoter or not; coding or intergenic; splice donor, acceptor or neither; start codon of a gene or another
    ATG; strand of the gene."""
    dev: tuple[str, ...] = ()
    """Sequences held out for dev, by name."""
    test: tuple[str, ...] = ()
    """Sequences held out for test, by name. Without --dev and --test each sequence is cut into blocks."""
    block_bp: int | None = None
    """Length of the blocks that go to train, dev or test as a whole; by default a hundredth of the genome, at most
    50 kb."""
    gap_bp: int = 1000
    """Bases between two blocks that no example may touch."""
    length_bp: int = 200
    """Length of an example in base pairs."""
    max_examples: int = 20_000
    """Most positive examples of a task."""
    seed: int = 0
    """Every random choice follows from it."""
    overwrite: bool = False
    """Replace an earlier suite."""

    def run(self) -> int:
        """Build, print the class counts."""
        from dnar2mae.benchmarks.reporting.console import build_and_print

        return build_and_print(self)


def run(argv: list[str]) -> int:
    """Parse ``dnar2mae benchmark ...`` and run it."""
    commands: Any = (
        Annotated[RunCommand, subcommand("run")]
        | Annotated[BuildCommand, subcommand("build")]
        | Annotated[ReportCommand, subcommand("report")]
        | Annotated[ListCommand, subcommand("list")]
    )
    return parse(commands, argv, prog="dnar2mae benchmark", description=_ABOUT).run()
