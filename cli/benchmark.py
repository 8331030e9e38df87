"""``dnar2mae benchmark``: judge models on suites of sequence-classification tasks, and make suites."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from dnar2mae.benchmarks.build.config import BuildConfig
from dnar2mae.benchmarks.running.options import FewLabels, JudgedModels, SuiteOptions
from dnar2mae.cli.parse import parse_subcommand

_ABOUT = """Judge models on suites of classification tasks, and make suites from an annotated genome.

Example: dnar2mae benchmark run gue --data GUE --model runs/first --out results/gue"""


@dataclass(frozen=True, kw_only=True)
class RunCommand:
    """Judge models on a suite.

    Example: dnar2mae benchmark run gue --data GUE --model runs/first --out runs/gue

    Every model runs beside its own architecture with random weights, raw features (of DNA k-mer counts), both together,
    and, on DNA, a small CNN. A run that was interrupted goes on where it stopped when the command is given again.
    """

    suite: Positional[str]
    """gue, genomic_benchmarks, nucleotide_transformer, or the folder of a suite of your own."""
    out: Path
    """Folder for results.jsonl, predictions/, the report and the tables."""
    data: Path | None = None
    """Folder of the data sets; by default the suite's own folder."""
    protocol: str = "dnar2mae-v2"
    """dnar2mae-v2, dnar2mae-v1, gue/dnabert2-v1, or a YAML file."""
    tasks: tuple[str, ...] = ()
    """Only these tasks, as tf/0 or prom_core_tata."""
    models: Annotated[JudgedModels, arg(name="")] = JudgedModels()
    """Models to judge."""
    options: Annotated[SuiteOptions, arg(name="")] = SuiteOptions()
    """Methods, seeds and controls."""

    def run(self) -> int:
        """Run, print the table, write the report."""
        from dnar2mae.benchmarks.reporting.console import run_and_print

        return run_and_print(
            self.suite,
            self.out,
            self.models,
            self.options,
            data=self.data,
            protocol=self.protocol,
            tasks=tuple(name for given in self.tasks for name in given.split(",")),
        )


@dataclass(frozen=True, kw_only=True)
class FewLabelsCommand:
    """Compare models with raw features at few labels a class, and with all labels.

    Example: dnar2mae benchmark few-labels suites/digits --model cnn=runs/0 cnn=runs/1 --out results/few

    Logistic regressions on the same drawn labels: of raw features (pixels, expression and its components, n-grams),
    of random models and of the trained ones. Models that are given one name are runs of one recipe.
    """

    suite: Positional[str]
    """A suite's name, or the folder of one of your own."""
    out: Path
    """Folder for few_labels.csv."""
    data: Path | None = None
    """Folder of the data sets; by default the suite's own folder."""
    tasks: tuple[str, ...] = ()
    """Only these tasks."""
    models: Annotated[JudgedModels, arg(name="")] = JudgedModels()
    """Models to judge."""
    options: Annotated[FewLabels, arg(name="")] = FewLabels()
    """Labels, draws and controls."""

    def run(self) -> int:
        """Compare, print, write."""
        from dnar2mae.benchmarks.reporting.few_labels import compare_and_print

        return compare_and_print(self.suite, self.out, self.models, self.options, data=self.data, tasks=self.tasks)


@dataclass(frozen=True, kw_only=True)
class ReportCommand:
    """Write the report of a results folder again: report.md, report.html, tables and plots.

    Example: dnar2mae benchmark report results/gue
    """

    out: Positional[Path]
    """The folder that ``benchmark run`` has written."""

    def run(self) -> int:
        """Write the report, print the names of its files."""
        from dnar2mae.benchmarks.reporting.report import write_report

        for path in write_report(self.out):
            print(f"Wrote {path}")
        return 0


@dataclass(frozen=True, kw_only=True)
class ListCommand:
    """List suites and protocols, or the tasks of a suite and which of them a data folder has.

    Example: dnar2mae benchmark list gue --data GUE
    """

    suite: Positional[str | None] = None
    """Name or folder of a suite; without it suites and protocols are listed."""
    data: Path | None = None
    """Folder to look for its data sets in."""

    def run(self) -> int:
        """Print the list."""
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
    overwrite: bool = False
    """Replace an earlier suite."""
    config: Annotated[BuildConfig, arg(name="")] = BuildConfig()
    """Tasks, hold-outs and sizes."""

    def run(self) -> int:
        """Build, print the class counts."""
        from dnar2mae.benchmarks.reporting.console import build_and_print

        return build_and_print(self.genome, self.annotation, self.out, self.config, overwrite=self.overwrite)


def run(argv: list[str]) -> int:
    """Parse ``dnar2mae benchmark ...`` and run it."""
    commands = {
        "run": RunCommand,
        "few-labels": FewLabelsCommand,
        "build": BuildCommand,
        "report": ReportCommand,
        "list": ListCommand,
    }
    return parse_subcommand(commands, argv, prog="dnar2mae benchmark", description=_ABOUT).run()
