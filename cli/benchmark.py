"""``dnar2mae benchmark``: judge models on suites of sequence-classification tasks, and make suites."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from dnar2mae.benchmarks.build.config import BuildConfig
from dnar2mae.benchmarks.running.options import FewLabels, JudgedModels, SuiteOptions
from dnar2mae.cli.output import json_at_end
from dnar2mae.cli.parse import parse_subcommand
from dnar2mae.errors import ConfigError
from dnar2mae.storage.progress import progress_bar

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
    json: bool = False
    """Print the scores as JSON, and all else on stderr."""

    def run(self) -> int:
        """Run, print the table, write the report; 1 if a cell failed."""
        from dnar2mae.benchmarks.reporting.console import model_specs, print_scores
        from dnar2mae.benchmarks.reporting.report import write_report
        from dnar2mae.benchmarks.running.protocol import load_protocol
        from dnar2mae.benchmarks.running.results import Store
        from dnar2mae.benchmarks.running.runner import run_suite
        from dnar2mae.benchmarks.tasks.suite import load_suite

        suite = load_suite(self.suite).select(tuple(name for given in self.tasks for name in given.split(",")))
        data = self.data or Path(self.suite)
        if self.data is None and not data.is_dir():
            raise ConfigError(f"--data must name the folder of {suite.title}; get it from its source: {suite.source}")
        models, protocol, store = model_specs(self.models), load_protocol(self.protocol), Store(self.out)
        with progress_bar("Reading data", None, at_once=True) as bar:

            def advance(done: int, total: int, what: str) -> None:
                bar(done, total=total, title=what or "Running")

            table = run_suite(suite, data, models, protocol, store, options=self.options, advance=advance)
        failed = [row for row in table.rows if row["status"] != "done"]
        with json_at_end(self.json) as hand_over:
            print_scores(store, table.rows)
            for name, why in table.skipped.items():
                print(f"Skipped {name}: {why}")
            for row in failed:
                print(f"Failed {row['task']}, {row['model']}, {row['method']}: {row['error']}")
            if table.num_reused:
                print(f"{table.num_reused} of {len(table.rows)} cells were finished before.")
            if len(failed) < len(table.rows):
                with progress_bar("Writing the report", None, at_once=True):
                    written = ", ".join(path.name for path in write_report(self.out))
                print(f"Wrote {written}, results.jsonl, predictions/ and plots/ in {self.out}")
            hand_over(table.rows)
        return 1 if failed else 0


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
    json: bool = False
    """Print the rows of few_labels.csv as JSON, and all else on stderr."""

    def run(self) -> int:
        """Compare, print, write."""
        from dnar2mae.benchmarks.reporting.few_labels import compare_and_print

        options = self.options
        with json_at_end(self.json) as hand_over, progress_bar("Comparing", None, at_once=True):
            hand_over(compare_and_print(self.suite, self.out, self.models, options, data=self.data, tasks=self.tasks))
        return 0


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
    json: bool = False
    """Print the lists as JSON, and all else on stderr."""

    def run(self) -> int:
        """Print suites and protocols, or a suite's tasks."""
        from dnar2mae.benchmarks.reporting.console import print_table
        from dnar2mae.benchmarks.running.protocol import load_protocol, packaged_protocols
        from dnar2mae.benchmarks.tasks.data import find_task
        from dnar2mae.benchmarks.tasks.suite import load_suite, packaged_suites

        if self.suite is None:
            suites = map(load_suite, packaged_suites())
            about = [{"name": s.name, "tasks": str(len(s.tasks)), "title": s.title, "source": s.source} for s in suites]
            rows = [
                {"name": p.name, "methods": ", ".join(p.methods), "seeds": str(len(p.seeds)), "source": p.source}
                for p in map(load_protocol, packaged_protocols())
            ]
            with json_at_end(self.json) as hand_over:
                print_table("Suites", about)
                print_table("Protocols", rows)
                hand_over({"suites": about, "protocols": rows})
            return 0
        suite, rows = load_suite(self.suite), []
        for task in suite.tasks:
            row = {"task": task.name, "metric": task.metric, "classes": str(len(task.classes))}
            row |= {"length (bp)": str(task.length_bp or ""), "official rows": "/".join(map(str, task.sizes.values()))}
            if self.data is not None:
                row["data"] = "present" if find_task(suite, task, self.data) else "missing"
            rows.append(row)
        with json_at_end(self.json) as hand_over:
            print_table(suite.title, rows)
            print(f"Source: {suite.source}")
            hand_over(rows)
        return 0


@dataclass(frozen=True, kw_only=True)
class BuildCommand:
    """Make a suite from an annotated genome.

    Example: dnar2mae benchmark build --genome genome.fa --annotation genes.gff3 --out suites/mine

    Tasks that the annotation has too few features for are named and left out.
    """

    genome: Path
    """FASTA, GenBank, EMBL or .2bit file, or a GFF3 that ends in its sequences; or an address (https://, s3://, gs://)."""
    annotation: Path
    """GFF3, GTF, BED, GenBank or EMBL file, plain or compressed, or its address."""
    out: Path
    """Folder of the new suite."""
    overwrite: bool = False
    """Replace an earlier suite."""
    config: Annotated[BuildConfig, arg(name="")] = BuildConfig()
    """Tasks, hold-outs and sizes."""
    json: bool = False
    """Print the numbers of examples as JSON, and all else on stderr."""

    def run(self) -> int:
        """Build, print the class counts."""
        from dnar2mae.benchmarks.build.suite import build_suite
        from dnar2mae.benchmarks.reporting.console import print_table

        with progress_bar("Building", None, at_once=True):
            built = build_suite(self.genome, self.annotation, self.out, self.config, overwrite=self.overwrite)
        rows = [
            {"task": task, "class": name, **{split: f"{counts[split]:,}" for split in ("train", "dev", "test")}}
            for task, classes in built.counts.items()
            for name, counts in classes.items()
        ]
        with json_at_end(self.json) as hand_over:
            print_table("Examples", rows)
            for name, why in built.left_out.items():
                print(f"Left out {name}: {why}")
            print(f"{self.annotation} was {built.annotated}.")
            print(f"Wrote {self.out}; no test or dev example shares a base or a sequence with a training one.")
            print(f"Next: dnar2mae benchmark run {self.out} --model RUN --out results")
            hand_over({"examples": built.counts, "left_out": built.left_out})
        return 0


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
