"""The actions of ``dnar2mae benchmark``, and what they print."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnar2mae.benchmarks.build.config import BuildConfig
from dnar2mae.benchmarks.running.options import JudgedModels, SuiteOptions
from dnar2mae.errors import ConfigError
from dnar2mae.storage.progress import progress_bar

if TYPE_CHECKING:
    from dnar2mae.benchmarks.running.cells import ModelSpec

_PIPE_COLUMNS = 140  # width of tables that go to a file or a pipe, where rich would assume 80


def run_and_print(
    suite_name: str,
    out: Path,
    models: JudgedModels,
    options: SuiteOptions,
    *,
    data: Path | None,
    protocol: str,
    tasks: tuple[str, ...],
) -> int:
    """Run a suite, write its report, print the table; 1 if a cell failed."""
    from dnar2mae.benchmarks.reporting.report import write_report
    from dnar2mae.benchmarks.running.protocol import load_protocol
    from dnar2mae.benchmarks.running.results import Store
    from dnar2mae.benchmarks.running.runner import run_suite
    from dnar2mae.benchmarks.tasks.suite import load_suite

    suite = load_suite(suite_name).select(tasks)
    if data is None and not Path(suite_name).is_dir():
        raise ConfigError(f"--data must name the folder of {suite.title}; get it from its source: {suite.source}")
    store = Store(out)
    with progress_bar("Reading data", None, at_once=True) as bar:
        table = run_suite(
            suite,
            data or Path(suite_name),
            model_specs(models),
            load_protocol(protocol),
            store,
            options=options,
            advance=lambda done, total, what: bar(done, total=total, title=what or "Running"),
        )
    _print_scores(store, table.rows)
    for name, why in table.skipped.items():
        print(f"Skipped {name}: {why}")
    failed = [row for row in table.rows if row["status"] != "done"]
    for row in failed:
        print(f"Failed {row['task']}, {row['model']}, {row['method']}: {row['error']}")
    if table.num_reused:
        print(f"{table.num_reused} of {len(table.rows)} cells were finished before.")
    if len(failed) < len(table.rows):
        written = ", ".join(path.name for path in write_report(out))
        print(f"Wrote {written}, results.jsonl, predictions/ and plots/ in {out}")
    return 1 if failed else 0


def print_list(suite_name: str | None, data: Path | None) -> int:
    """Print suites and protocols, or a suite's tasks."""
    from dnar2mae.benchmarks.running.protocol import load_protocol, packaged_protocols
    from dnar2mae.benchmarks.tasks.data import find_task
    from dnar2mae.benchmarks.tasks.suite import load_suite, packaged_suites

    if suite_name is None:
        suites = [[s.name, str(len(s.tasks)), s.title, s.source] for s in map(load_suite, packaged_suites())]
        print_table("Suites", ["name", "tasks", "title", "source"], suites)
        protocols = map(load_protocol, packaged_protocols())
        rows = [[p.name, ", ".join(p.methods), str(len(p.seeds)), p.source] for p in protocols]
        print_table("Protocols", ["name", "methods", "seeds", "source"], rows)
        return 0
    suite = load_suite(suite_name)
    rows = []
    for task in suite.tasks:
        sizes = "/".join(str(size) for size in task.sizes.values())
        state = [] if data is None else ["found" if find_task(suite, task, data) else "missing"]
        rows.append([task.name, task.metric, str(len(task.classes)), str(task.length_bp or ""), sizes, *state])
    columns = ["task", "metric", "classes", "length (bp)", "official rows", *([] if data is None else ["data"])]
    print_table(suite.title, columns, rows)
    print(f"Source: {suite.source}")
    return 0


def build_and_print(genome: Path, annotation: Path, out: Path, config: BuildConfig, *, overwrite: bool) -> int:
    """Build a suite from an annotation, print its class counts."""
    from dnar2mae.benchmarks.build.suite import build_suite

    built = build_suite(genome, annotation, out, config, overwrite=overwrite)
    rows = [
        [task, name, *(f"{counts[split]:,}" for split in ("train", "dev", "test"))]
        for task, classes in built.counts.items()
        for name, counts in classes.items()
    ]
    print_table("Examples", ["task", "class", "train", "dev", "test"], rows)
    for name, why in built.left_out.items():
        print(f"Left out {name}: {why}")
    print(f"Wrote {out}; no test or dev example shares a base or a sequence with a training one.")
    print(f"Next: dnar2mae benchmark run {out} --model RUN --out results")
    return 0


def model_specs(models: JudgedModels, *, may_repeat: bool = False) -> list["ModelSpec"]:
    """Return the models that flags name, each by PATH or NAME=PATH; ``may_repeat`` allows several of one name.

    Raises
    ------
    ConfigError
        If names repeat that may not.
    """
    from dnar2mae.benchmarks.running.cells import ModelSpec
    from dnar2mae.inference import is_trained_model

    specs = []
    for given in models.model:
        name, equals, path = given.rpartition("=")
        kind = "checkpoint" if is_trained_model(Path(path)) else "huggingface"
        name = name if equals else Path(path).resolve().name
        specs.append(ModelSpec(name=name, kind=kind, path=path, device=models.device))
    names = [spec.name for spec in specs]
    if len(set(names)) < len(names) and not may_repeat:
        raise ConfigError(f"--model: names must differ, got {', '.join(names)}; give NAME=PATH")
    return [replace(spec, trust_remote_code=models.trust_remote_code) for spec in specs]


def _print_scores(store: Any, rows: list[dict[str, Any]]) -> None:
    from dnar2mae.benchmarks.reporting.summary import cell_text, contestant, ranks, remarks, summarise

    summary = summarise(store, rows)
    if summary.empty:
        return
    table = []
    for row in summary.to_dict("records"):
        filtered = f"{row['filtered']:.3f}" if row["num_duplicates"] else "="
        task = row["task"] + ("*" if row["flags"] else "")
        table.append([task, contestant(row), row["metric"], cell_text(row), filtered])
    print_table("Scores", ["task", "model", "metric", "score, sd, 95 % interval", "without duplicates"], table)
    for row in summary[summary["flags"] != ""].drop_duplicates("task").to_dict("records"):
        print(f"* {row['task']}: {row['flags']}; not comparable with published scores")
    for remark in remarks(summary):
        print(f"Note: {remark}")
    rank_of = ranks(summary)
    if len(rank_of) > 1:
        print("Mean rank: " + ", ".join(f"{name} {rank:.2f}" for name, rank in rank_of.items()))


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table to the terminal, or 140 columns wide to a file or a pipe."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else _PIPE_COLUMNS
    Console(highlight=False, markup=False, width=width).print(table)
