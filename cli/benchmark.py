"""``dnar2mae benchmark``: judge models on suites of sequence-classification tasks, and make suites."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from dnar2mae.benchmarks.build.config import BuildConfig
from dnar2mae.benchmarks.running.options import FewLabels, JudgedModels, SuiteOptions
from dnar2mae.cli.output import json_at_end
from dnar2mae.cli.parse import parse_subcommand
from dnar2mae.errors import ConfigError, require_ranges
from dnar2mae.storage.progress import progress_bar

_ABOUT = """Judge models on suites of classification tasks, and make suites from an annotated genome.

Example: dnar2mae benchmark run gue --data GUE --model runs/first --out results/gue"""


@dataclass(frozen=True, kw_only=True)
class RunCommand:
    """Judge models on a suite.

    Example: dnar2mae benchmark run gue --data GUE --model runs/first --out runs/gue

    Every model runs beside its own architecture with random weights, raw features (of DNA k-mer counts), both together,
    and, on DNA, a small CNN. Models that are given one name are runs of one recipe, whose scores are averaged. A run
    that was interrupted goes on where it stopped when the command is given again.
    """

    suite: Positional[str]
    """gue, genomic_benchmarks, nucleotide_transformer, or the folder of a suite of your own."""
    out: Path
    """Folder for results.jsonl, predictions/, the report and the tables."""
    data: Path | None = None
    """Folder of the data sets; by default the suite's own folder."""
    protocol: str = "dnar2mae-v4"
    """dnar2mae-v4, dnar2mae-v2, gue/dnabert2-v1, or a YAML file."""
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
        from dnar2mae.benchmarks.reporting.summary import failure
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
                print(f"Failed {failure(row)}")
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
class AuditSuiteCommand:
    """Count the test sequences of each task that have a homologue in its training set.

    Example: dnar2mae benchmark audit gue --data GUE --out leakage.csv

    Shares of test rows by identity, on either strand, and beside each what is found by chance; see dnar2mae audit.
    """

    suite: Positional[str]
    """A suite's name, or the folder of one of your own."""
    data: Path | None = None
    """Folder of the data sets; by default the suite's own folder."""
    out: Path | None = None
    """CSV file of the table."""
    tasks: tuple[str, ...] = ()
    """Only these tasks, as tf/0 or prom_core_tata."""
    leaked_at: float = 0.7
    """Identity from which a row is called leaked, for --fail-above."""
    fail_above: float | None = None
    """Exit with 1 if more of a task's test rows are leaked than this share."""
    json: bool = False
    """Print the table as JSON, and all else on stderr."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_ranges(self, {"in (0, 1]": ("leaked_at",), "in [0, 1]": ("fail_above",)})

    def run(self) -> int:
        """Audit, print the table, write it; 1 if more is leaked than allowed."""
        import pandas as pd

        from dnar2mae.benchmarks.reporting.console import print_table
        from dnar2mae.benchmarks.tasks.audit import audit_rows, audit_suite
        from dnar2mae.benchmarks.tasks.data import find_task
        from dnar2mae.benchmarks.tasks.suite import load_suite
        from dnar2mae.homology import IDENTITIES
        from dnar2mae.storage.safe_files import output_file, refuse_inputs

        suite = load_suite(self.suite).select(tuple(name for given in self.tasks for name in given.split(",")))
        data = self.data or Path(self.suite)
        if self.out is not None:
            folders = [find_task(suite, task, data) for task in suite.tasks]
            refuse_inputs(self.out, [file for folder in folders if folder for file in folder.iterdir()])
        levels = tuple(sorted({*IDENTITIES, self.leaked_at}))
        with progress_bar("Reading data", None, at_once=True) as bar:
            audits = audit_suite(suite, data, levels, lambda task, done, total: bar(done, total=total, title=task))
        rows = audit_rows(audits)
        with json_at_end(self.json) as hand_over:
            print_table(suite.title, [_shown(row) for row in rows])
            for each in audits:
                if each.remarks:
                    print(f"{'Skipped ' if each.audit is None else ''}{each.task}: {'; '.join(each.remarks)}")
            if self.out is not None and rows:
                with output_file(self.out) as partial:
                    pd.DataFrame(rows).to_csv(partial, index=False)
                print(f"Wrote {self.out}")
            hand_over(rows)
        if not rows:
            raise ConfigError(f"--data: no task of {suite.title} has data to audit in {data}")
        shares = [each.audit.found.at(self.leaked_at).mean() for each in audits if each.audit is not None]
        return int(self.fail_above is not None and max(shares) > self.fail_above)


def _shown(row: dict[str, Any]) -> dict[str, str]:
    """Return a line of the printed table: shares in percent, with what is by chance behind each."""
    line = {
        "task": row["task"],
        "train": f"{row['train']:,}",
        "test": f"{row['test']:,}",
        "equal": f"{row['exact']:.1%}",
    }
    levels = [name.removeprefix("at_") for name in row if name.startswith("at_")]
    return line | {
        f"{level} % (by chance)": f"{row[f'at_{level}']:.1%} ({row[f'chance_{level}']:.1%})" for level in levels
    }


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
            if built.remark:
                print(built.remark)
            print(f"Wrote {self.out}; no test or dev example shares a base or a sequence with a training one.")
            print(f"Next: dnar2mae benchmark run {self.out} --model RUN --out results")
            hand_over({"examples": built.counts, "left_out": built.left_out})
        return 0


def run(argv: list[str]) -> int:
    """Parse ``dnar2mae benchmark ...`` and run it."""
    commands = {
        "run": RunCommand,
        "few-labels": FewLabelsCommand,
        "audit": AuditSuiteCommand,
        "build": BuildCommand,
        "report": ReportCommand,
        "list": ListCommand,
    }
    return parse_subcommand(commands, argv, prog="dnar2mae benchmark", description=_ABOUT).run()
