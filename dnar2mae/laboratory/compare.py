"""A whole comparison: plan, choose learning rates, run, measure, report."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd

from dnar2mae.config import PretrainConfig
from dnar2mae.errors import RunError, raising
from dnar2mae.laboratory.columns import column_rows
from dnar2mae.laboratory.grid import LawGrid, at_rate, check_grid, check_labels, grid_cells, grid_of_run, trial_cells
from dnar2mae.laboratory.judges import probe_rows, variant_rows
from dnar2mae.laboratory.plan import CompareOptions, Law, PlannedRun
from dnar2mae.laboratory.report import write_report
from dnar2mae.laboratory.workers import run_cells
from dnar2mae.modalities.registry import input_files
from dnar2mae.storage.safe_files import locked, refuse_inputs, written_whole

FILES = ("compare.csv", "regret.csv", "report.md", "compare.png")
"""What a comparison writes beside its runs."""


Failure = tuple[PlannedRun, str]
"""A run that failed, and of what."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LawComparison:
    """The outcome of a comparison."""

    finished: bool
    """False if it was interrupted: the same call goes on with it."""
    added: tuple[Law, ...]
    """Controls that were added to the given laws."""
    failed: tuple[Failure, ...]
    """Runs that failed, and of what; the report is about the others."""
    table: pd.DataFrame | None = None
    """The tidy table of ``compare.csv``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Functions that are told of a comparison's progress."""

    planned: Callable[[Sequence[PlannedRun], Sequence[Law]], object] = lambda cells, added: None
    """Called before each round, with its runs and the controls that were added."""
    advance: Callable[[PlannedRun], object] = lambda cell: None
    """Called with each finished run."""
    failed: Callable[[PlannedRun, str], object] = lambda cell, error: None
    """Called with each run that failed, and of what."""


def compare(
    config: PretrainConfig,
    laws: Sequence[Law],
    out: str | Path,
    options: CompareOptions,
    progress: Progress = Progress(),
) -> LawComparison:
    """Pretrain the same model under every law with every seed, and write the comparison: a grid of one setting.

    Parameters
    ----------
    config
        The run; its mask law and seed are not used.
    laws
        Laws to compare. The fixed ratio at the mean of every law whose ratio varies is added.
    out, options, progress
        As for :func:`run_grid`.

    Raises
    ------
    Dnar2maeError
        As :func:`run_grid`, or if laws or seeds repeat.
    """
    return run_grid(grid_of_run(config, laws, options.seeds), out, options, progress)


def run_grid(grid: LawGrid, out: str | Path, options: CompareOptions, progress: Progress = Progress()) -> LawComparison:
    """Run a grid and write its tables, report and plots.

    Parameters
    ----------
    grid
        What is compared.
    out
        Folder: gets ``runs/``, ``trials/`` (the first round, if there is one), ``compare.csv``, ``regret.csv``,
        ``report.md`` and ``compare.png``. Runs that are finished there are not run again, interrupted ones go on.
    options
        Budget, workers, further judges; a grid's seeds are its own.
    progress
        Is told of each run.

    Raises
    ------
    Dnar2maeError
        If the folder has something else in it or runs with other settings or is in use, a cell cannot run, or all
        fail.
    """
    out = Path(out)
    _check_out(out)
    inputs = [file for setting in grid.settings for file in input_files(setting.config)]
    refuse_inputs([out / name for name in FILES], inputs)
    planned = grid_cells(grid, out, options)
    check_grid(grid)  # so that faults of the data are errors before anything is written
    check_labels(grid)
    with _held(out):
        return _run_rounds(grid, out, options, progress, planned)


def _run_rounds(
    grid: LawGrid, out: Path, options: CompareOptions, progress: Progress, planned: Sequence[PlannedRun]
) -> LawComparison:
    failed: list[Failure] = []
    done = None
    trials = _run_all(trial_cells(grid, out, options), grid, options, progress, failed)
    if trials is not None:
        if grid.tunes:
            rates = choose_rates(trials)
            failed += [
                (cell, "none of its law's trials has a held-out area") for cell in planned if cell.place not in rates
            ]
            planned = [at_rate(cell, rates[cell.place]) for cell in planned if cell.place in rates]
        done = _run_all(planned, grid, options, progress, failed)
    if done is None:
        return LawComparison(finished=False, added=grid.added, failed=tuple(failed))
    if not done:
        cell, error = failed[0]
        raise RunError(f"every run failed, the first one of: {error}; see {cell.log}")
    table = _table(done, out, options)
    write_report(table, grid, [*_about(grid, done, options), *_failures(failed)], out)
    return LawComparison(finished=True, added=grid.added, failed=tuple(failed), table=table)


def _check_out(out: Path) -> None:
    is_comparison = any((out / name).is_dir() for name in ("runs", "trials"))
    if out.exists() and not (is_comparison or (out.is_dir() and not any(out.iterdir()))):
        raise RunError(f"{out}: not empty and no comparison; choose another --out")


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """Make the folder and keep other processes out, which would count runs in progress as failed."""
    with raising(RunError, f"{out}: cannot write the comparison", OSError):
        out.mkdir(parents=True, exist_ok=True)
    with locked(out, RunError(f"{out}: in use by another process; wait for its end or choose another --out")):
        yield


def _table(cells: Sequence[PlannedRun], out: Path, options: CompareOptions) -> pd.DataFrame:
    """Return, and write, what was measured of the cells and what further judges say."""
    rows = column_rows(cells)
    if options.suite:
        rows += probe_rows(cells, options.suite, out / "probes", options.num_workers)
    rows += variant_rows(cells, options, out / "variants")
    table = pd.DataFrame(rows)
    with written_whole(out / "compare.csv") as partial:
        table.to_csv(partial, index=False, float_format="%.8g")
    return table


def _run_all(
    cells: Sequence[PlannedRun], grid: LawGrid, options: CompareOptions, progress: Progress, failed: list[Failure]
) -> list[PlannedRun] | None:
    """Return the cells of a round that finished, in their order; None if it was interrupted."""
    if not cells:
        return []
    progress.planned(cells, grid.added)
    done, ended = set(), 0
    for cell, outcome in run_cells(cells, options.num_workers):
        ended += outcome.finished or bool(outcome.error)
        if outcome.finished:
            done.add(cell.path)
            progress.advance(cell)
        elif outcome.error:
            failed.append((cell, outcome.error))
            progress.failed(cell, outcome.error)
    return None if ended < len(cells) else [cell for cell in cells if cell.path in done]


def choose_rates(trials: Sequence[PlannedRun]) -> dict[tuple[str, str], float]:
    """Return the learning rate of each law in each setting, by both names: the lowest mean held-out area."""
    areas: dict[tuple[str, str], dict[float, list[float]]] = {}
    for row in column_rows(trials):
        if row["measure"] == "area":
            areas.setdefault((row["setting"], row["law"]), {}).setdefault(row["rate"], []).append(row["value"])
    chosen = {}
    for place, by_rate in areas.items():
        most = max(map(len, by_rate.values()))  # a rate at which some seeds fail is no choice
        means = {
            rate: fmean(found) for rate, found in by_rate.items() if len(found) == most and np.isfinite(found).all()
        }
        if means:
            chosen[place] = min(means, key=means.__getitem__)
    return chosen


def _about(grid: LawGrid, cells: Sequence[PlannedRun], options: CompareOptions) -> list[str]:
    lines = []
    for setting in grid.settings:
        own = next((cell for cell in cells if cell.setting == setting.name), None)
        if own is None:
            continue
        config, step = setting.config, setting.config.batch_size * own.sample_tokens
        equal = (
            f"Every run takes {own.config.steps:,} steps of {step:,} tokens"
            if options.equal == "steps"
            else "Every encoder sees as many tokens in expectation; laws that mask less take fewer steps"
        )
        lines.append(
            f"{f'Setting {setting.name}: ' if setting.name else ''}Modality {config.modality}, backbone "
            f"{config.model.backbone}, objective {config.model.objective}, width {config.model.width}, depth "
            f"{config.model.depth}. {equal}."
        )
    same = "Runs of one seed share windows, strands and initial weights"
    if options.equal != "steps":
        same += " (a longer run sees more windows)"
    seeds = ", ".join(map(str, grid.seeds))
    lines.append(f"{same}; they differ in their masks and in nothing else. Seeds: {seeds}.")
    if grid.tuning and grid.tunes:
        edges = {min(grid.tuning.rates), max(grid.tuning.rates)}
        chosen = {cell.place: cell.rate for cell in cells}
        at_edge = sum(rate in edges for rate in chosen.values())
        tried, seeds = (", ".join(f"{x:g}" for x in each) for each in (grid.tuning.rates, grid.tuning.seeds))
        lines.append(
            f"The learning rate of each law in each setting is the best of {tried} times the setting's, by the "
            f"held-out area of runs of {grid.tuning.steps_share:g} of the steps with the seeds {seeds}; {at_edge} of "
            f"{len(chosen)} chose the first or last of these."
        )
    return lines


def _failures(failed: Sequence[Failure]) -> list[str]:
    if not failed:
        return []
    return [f"{len(failed)} runs failed and are left out:"] + [
        f"- {cell.name}: {error} (`{cell.log.name}` in `{cell.log.parent}`)" for cell, error in failed
    ]
