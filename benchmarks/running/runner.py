"""A whole table: every task by every model, resumable, in parallel over cells."""

import itertools
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from multiprocessing import active_children, get_context
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import torch

from dnar2mae.benchmarks.rows.contract import labelled_data
from dnar2mae.benchmarks.running.cells import BenchmarkCell, ModelSpec, cell_identity, recipe_digests, run_cell
from dnar2mae.benchmarks.running.frozen import FROZEN
from dnar2mae.benchmarks.running.options import BASELINES, SuiteOptions
from dnar2mae.benchmarks.running.protocol import Protocol
from dnar2mae.benchmarks.running.results import Store, finished
from dnar2mae.benchmarks.running.vectors import raw_names
from dnar2mae.benchmarks.tasks.data import TaskData, each_fold, find_task, in_folds, load_task
from dnar2mae.benchmarks.tasks.suite import Suite, SuiteTask
from dnar2mae.errors import ConfigError, Dnar2maeError
from dnar2mae.run.directory import environment
from dnar2mae.run.workers import end_with_parent

_NO_WEIGHTS = "v1"  # of what has no weights to hash; another version when the method changes
Advance = Callable[[int, int, str], None]
"""Called with the number of cells done, of all cells, and what was done last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A cell on a task."""

    cell: BenchmarkCell
    task: SuiteTask
    folder: Path
    identity: dict[str, Any]
    """Fields that a stored result must have, with these values."""
    about: dict[str, Any]
    """Further fields of the result: metric, sizes, duplicates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteResult:
    """Results of a run over a suite."""

    rows: list[dict[str, Any]]
    """Results of this run's cells, earlier finished ones included."""
    skipped: dict[str, str]
    """Tasks that were not run, and why."""
    num_reused: int
    """Cells that an earlier run had finished."""


def run_suite(
    suite: Suite,
    root: Path,
    models: Sequence[ModelSpec],
    protocol: Protocol,
    store: Store,
    *,
    options: SuiteOptions | None = None,
    advance: Advance = lambda done, total, what: None,
) -> SuiteResult:
    """Run every cell that is not finished, and return the results of all.

    Parameters
    ----------
    suite
        Its tasks; those whose folder is missing are named in the result and skipped.
    root
        Data folder.
    models
        Checkpoints and Hugging Face folders.
    protocol, options
        How to judge, and what else to run.
    store
        Where results go; finished cells on the same data, weights and settings are read from it.
    advance
        Progress.

    Raises
    ------
    Dnar2maeError
        The data or a model breaks a rule, or there is no task. An error in a single cell is kept in its row.
    """
    options = options or SuiteOptions()
    _LOADED.clear()
    data = labelled_data(suite.modality)
    if options.both_strands and data.reverse is None:
        raise ConfigError(
            f"--both-strands needs rows with two strands; those of suite {suite.name} are {suite.modality}"
        )
    if options.folds and (learned := sorted({*options.methods} - {*FROZEN})):
        raise ConfigError(f"--folds is for {' and '.join(FROZEN)}, which take minutes; got --method {learned[0]}")
    asked = protocol.baselines if options.baselines is None else options.baselines
    if options.folds and "cnn" in asked:
        if options.baselines is not None:
            raise ConfigError("--folds has no baseline cnn, which would be trained anew for each fold and rate")
        asked = tuple(name for name in asked if name != "cnn")
    baselines = [name for name in asked if name in data.baselines or name not in BASELINES]
    models = [replace(model, modality=suite.modality) for model in models]
    digests = {"": _NO_WEIGHTS} | recipe_digests(models)  # one that cannot be read is an error before any work
    seeds = {"protocol_seeds": len(protocol.seeds)}
    jobs, skipped = [], {}
    for task in suite.tasks:
        folder = find_task(suite, task, root)
        if folder is None:
            skipped[task.name] = f"not in {root}: no data in a folder {task.name}"
            continue
        parts = _task_parts(task, folder, protocol.dev_share, options.folds)
        rows = parts[0].whole
        about, digest = _about(parts), rows.digest
        raw = raw_names(rows) if {"raw", "combined"} & set(baselines) else ()
        for planned in plan_cells(models, protocol, options.methods, baselines, options.num_seeds, raw_names=raw):
            cell = replace(planned, options=options)
            own_digests = {"data_digest": digest, "model_digest": digests[cell.model.path]}
            if cell.rate_of and "lr" in asdict(protocol.settings(cell.method, task.name)):
                own_digests["rate_of"] = digests[cell.rate_of]
            identity = cell_identity(cell, suite.name, task.name, own_digests)
            jobs.append(Job(cell=cell, task=task, folder=folder, identity=identity, about=about | seeds))
    if not jobs:
        raise ConfigError(f"{root}: has none of the {len(suite.tasks)} data sets of suite {suite.name}")
    store.put_aside([job.identity for job in jobs])
    results, num_reused = _run(jobs, store, options.num_workers, advance)
    return SuiteResult(rows=results, skipped=skipped, num_reused=num_reused)


def _run(jobs: Sequence[Job], store: Store, num_workers: int, advance: Advance) -> tuple[list[dict[str, Any]], int]:
    """First cells that search a learning rate or need none, then the other seeds at the rate that these chose."""
    stored = store.all_rows()
    reused = {i: row for i, job in enumerate(jobs) if (row := finished(stored, job.identity)) is not None}
    rows = list(reused.values())
    store.take_up(rows)
    waiting = [job for i, job in enumerate(jobs) if i not in reused]
    advance(len(rows), len(jobs), "")
    with _workers(num_workers, store.folder) as execute:
        for follows in (False, True):
            wave = [job for job in waiting if _follows(job) == follows]
            rated = [(job, _at_chosen_rate(job, jobs, rows) if follows else job) for job in wave]
            for job, ready in rated:
                if ready is None:
                    rows.append(_failed(job, "the first seed, or run, whose learning rate the others take, has failed"))
                    store.append(rows[-1])
            for row in execute([ready for _, ready in rated if ready is not None]):
                store.append(row)
                rows.append(row)
                advance(len(rows), len(jobs), f"{row['task']} {row['model']} {row['method']}")
    return rows, len(reused)


def _follows(job: Job) -> bool:
    """Whether the cell takes its learning rate from that of the first seed, or run."""
    return "lr" in job.identity["settings"] and job.cell.seed != job.cell.protocol.seeds[0]


def _at_chosen_rate(job: Job, jobs: Sequence[Job], rows: Sequence[dict[str, Any]]) -> Job | None:
    """Return the job with the learning rate that the first seed, or run, has chosen; None where that cell failed."""
    same = ("suite", "task", "model", "method")
    first = next(one for one in jobs if not _follows(one) and all(one.identity[n] == job.identity[n] for n in same))
    row = finished(rows, first.identity)
    return None if row is None else replace(job, cell=replace(job.cell, lr=row["chosen"]["lr"]))


@contextmanager
def _workers(num_workers: int, folder: Path) -> Iterator[Callable[[Sequence[Job]], Iterator[dict[str, Any]]]]:
    """Yield a function that runs jobs and yields their rows as they finish."""
    if num_workers == 1:
        yield lambda jobs: (run_job(job, folder) for job in jobs)
        return
    threads = max(1, torch.get_num_threads() // num_workers)
    others = active_children()
    with ProcessPoolExecutor(num_workers, get_context("spawn"), _begin, (threads,)) as pool:

        def execute(jobs: Sequence[Job]) -> Iterator[dict[str, Any]]:
            # Workers inherit that SIGINT is ignored: only the parent acts on Ctrl-C, and then stops them.
            with _without_interrupts():
                futures = [pool.submit(run_job, job, folder) for job in jobs]
            for future in as_completed(futures):
                yield future.result()

        try:
            yield execute
        except BaseException:
            for process in active_children():
                if process not in others:
                    process.terminate()  # the cells in progress are lost, finished ones are stored
            pool.shutdown(cancel_futures=True)
            raise


def _begin(num_threads: int) -> None:
    end_with_parent()
    torch.set_num_threads(num_threads)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    if current_thread() is not main_thread():  # where Python refuses signal.signal
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def run_job(job: Job, folder: Path) -> dict[str, Any]:
    """Run one cell, write its predictions, return its row; an error meant for the user becomes part of the row."""
    made = _made(job)
    try:
        parts = _task_parts(job.task, job.folder, job.cell.protocol.dev_share, job.cell.options.folds)
        found = run_cell(job.cell, parts)
    except Dnar2maeError as error:
        return _failed(job, str(error))
    store = Store(folder)
    path = store.write_predictions(job.identity, found.labels, found.probabilities, found.is_duplicate)
    return {**job.identity, **made, **found.row, "predictions": path}


def _made(job: Job) -> dict[str, Any]:
    return {"date": time.strftime("%Y-%m-%dT%H:%M:%S"), **job.about, **_environment()}


def _failed(job: Job, error: str) -> dict[str, Any]:
    return {**job.identity, **_made(job), "status": "failed", "error": error}


def _about(parts: Sequence[TaskData]) -> dict[str, Any]:
    data, tested = parts[0], each_fold(parts)
    flags = [f"{len(tested)} folds of all rows, not the suite's own test split"] if data.fold else []
    return {
        "group": data.task.group,
        "metric": data.task.metric,
        "classes": list(data.task.classes),
        "num_train": len(data.train),
        "num_dev": len(data.dev),
        "num_test": sum(len(part.test) for part in tested),
        "num_duplicates": sum(int(part.is_duplicate.sum()) for part in tested),
        "flags": [*data.flags, *flags],
        "duplicates": {
            f"{split} {kind}": sum(int(getattr(part.duplicates[split], kind).sum()) for part in tested)
            for split in data.duplicates
            for kind in ("exact", "reverse", "opposite")
        },
    }


@lru_cache(maxsize=1)
def _environment() -> dict[str, Any]:
    facts = environment()
    return {name: facts[name] for name in ("commit", "dnar2mae", "torch", "platform")}


_LOADED: dict[tuple[Path, float, int | None], list[TaskData]] = {}
"""The task that this process has read last: consecutive cells of a task share it."""


def _task_parts(task: SuiteTask, folder: Path, dev_share: float, folds: int | None) -> list[TaskData]:
    """Read a task, once for consecutive cells of it, and divide it into folds if asked for."""
    key = (folder, dev_share, folds)
    if key not in _LOADED:
        data = load_task(task, folder, dev_share)
        _LOADED.clear()
        _LOADED[key] = [data] if folds is None else in_folds(data, folds)
    return _LOADED[key]


def plan_cells(
    models: Sequence[ModelSpec],
    protocol: Protocol,
    methods: Sequence[str],
    baselines: Sequence[str],
    num_seeds: int | None,
    *,
    raw_names: Sequence[str] = (),
) -> list[BenchmarkCell]:
    """List every model by every method, and the baselines by theirs, each with the seeds that its result depends on.

    Models of one name are runs of one recipe: the first has the first seed, the next the next one, and the learning
    rate that is trained with is what the first has chosen. They share one control of random weights, drawn with the
    protocol's seeds in the shape of the first.

    ``methods``, ``baselines`` and ``num_seeds`` are as in :class:`dnar2mae.benchmarks.running.options.SuiteOptions`.
    Each of the task's raw features is a row, and one more beside each model's vectors.

    Raises
    ------
    ConfigError
        A method is not in the protocol, a baseline is unknown, the number of seeds is below 1, or a model has the name
        of a control.
    """
    for method in methods:
        if method not in protocol.methods:
            raise ConfigError(f"--method: protocol {protocol.name} has {', '.join(protocol.methods)}, got {method}")
    for name in baselines:
        if name not in BASELINES:
            raise ConfigError(f"--baselines must be some of {', '.join(BASELINES)}, got {name}")
    seeds, names = _seeds(protocol, num_seeds), [spec.name for spec in models]
    first = {spec.name: spec for spec in reversed(models)}
    judged: list[tuple[ModelSpec, Sequence[str], Sequence[int], int]] = []
    for i, spec in enumerate(models):
        number, earlier = names.count(spec.name), names[:i].count(spec.name)
        own = seeds if number == 1 else _seeds(protocol, number)[earlier : earlier + 1]
        judged.append((spec, methods, own, number))
        if "combined" in baselines and "probe" in methods:  # at once: they share the model's vectors
            both = [
                replace(spec, name=f"{raw} + {spec.name}", kind="combined", raw=raw, recipe=spec.name)
                for raw in raw_names
            ]
            judged += [(combined, ["probe"], own, number) for combined in both]
    controls: list[tuple[ModelSpec, Sequence[str]]] = []
    if "random" in baselines:
        random = [
            replace(first[name], name=f"{name} (random weights)", kind="random", recipe=name)
            for name in dict.fromkeys(names)
        ]
        controls += [(spec, methods) for spec in random]
    if "raw" in baselines:
        controls += [(ModelSpec(name=raw, kind="raw", raw=raw), ["probe"]) for raw in raw_names]
    if "cnn" in baselines:
        controls.append((ModelSpec(name="small CNN", kind="cnn"), ["scratch"]))
    cells = []
    for spec, its_methods, its_seeds, number in [*judged, *((*control, seeds, 1) for control in controls)]:
        rate_of = first[spec.name].path if spec.name in first and its_seeds[0] != protocol.seeds[0] else ""
        about = {"protocol": protocol, "of_runs": number, "rate_of": rate_of}
        # methods of one seed in a row share their vectors
        of_spec = [BenchmarkCell(model=spec, method=m, seed=seed, **about) for seed in its_seeds for m in its_methods]
        cells += [cell for cell in of_spec if cell.is_seeded or cell.seed == its_seeds[0]]
    places = Counter((cell.model.name, cell.method, cell.seed) for cell in cells)
    if same := [name for (name, _, _), times in places.items() if times > 1]:
        raise ConfigError(f"--model: {same[0]!r} is the name of a control; give NAME=PATH")
    return cells


def _seeds(protocol: Protocol, number: int | None) -> tuple[int, ...]:
    if number is None:
        return protocol.seeds
    if number < 1:
        raise ConfigError(f"--seeds must be at least 1, got {number}")
    more = itertools.count(max(protocol.seeds) + 1)
    return tuple(itertools.islice(itertools.chain(protocol.seeds, more), number))
