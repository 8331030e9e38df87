"""A whole comparison: plan, run (in order or several at once), evaluate, report."""

import contextlib
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import torch

from dnar2mae.config import PretrainConfig
from dnar2mae.errors import ConfigError, RunError
from dnar2mae.laboratory.plan import CompareOptions, Law, PlannedRun, plan_cells, with_controls
from dnar2mae.laboratory.results import loss_rows, probe_rows, variant_rows, write_report
from dnar2mae.modalities.registry import build_modality, input_files
from dnar2mae.run.directory import RunDirectory
from dnar2mae.storage.safe_files import refuse_inputs, written_whole


@dataclass(frozen=True, kw_only=True, slots=True)
class LawComparison:
    """The outcome of a comparison."""

    finished: bool
    """False if it was interrupted: the same call goes on with it."""
    added: tuple[Law, ...]
    """Controls that were added to the given laws."""
    table: pd.DataFrame | None = None
    """The tidy table of ``compare.csv``."""


def compare(
    config: PretrainConfig,
    laws: Sequence[Law],
    out: str | Path,
    options: CompareOptions,
    *,
    planned: Callable[[Sequence[PlannedRun], Sequence[Law]], object] = lambda cells, added: None,
    advance: Callable[[PlannedRun], object] = lambda cell: None,
) -> LawComparison:
    """Pretrain the same model under every law with every seed, and write the comparison.

    Parameters
    ----------
    config
        The run; its mask law and seed are not used.
    laws
        Laws to compare. The fixed ratio at the mean of every law whose ratio varies is added.
    out
        Folder: gets ``runs/``, ``compare.csv``, ``report.md`` and ``compare.png``. Runs that are finished there are
        not run again, interrupted ones go on.
    options
        Seeds, budget, workers.
    planned
        Called with the runs and the controls that were added, before the first run.
    advance
        Called with each finished run.

    Raises
    ------
    Dnar2maeError
        If laws or seeds repeat, the folder has something else in it or runs with other settings, or a run fails.
    """
    out = Path(out)
    if not laws:
        raise ConfigError("--laws must name at least one law")
    if out.exists() and not (out.is_dir() and ((out / "runs").is_dir() or not any(out.iterdir()))):
        raise RunError(f"{out}: not empty and no comparison; choose another --out")
    refuse_inputs([out / name for name in ("compare.csv", "report.md", "compare.png")], input_files(config))
    everything, added = with_controls(laws)
    modality = build_modality(config)
    tokens, anchor_stride = modality.layout.tokens, modality.vocabulary.anchor_stride
    cells = plan_cells(config, everything, out, options, sample_tokens=tokens, anchor_stride=anchor_stride)
    modality.open()  # so that faults of the data are errors before anything is written
    planned(cells, added)
    if not run_cells(cells, options.num_workers, advance):
        return LawComparison(finished=False, added=tuple(added))
    rows = loss_rows(cells, tokens, anchor_stride)
    if options.suite:
        rows += probe_rows(cells, options.suite, out / "probes", options.num_workers)
    rows += variant_rows(cells, options, out / "variants")
    table = pd.DataFrame(rows)
    with written_whole(out / "compare.csv") as partial:
        table.to_csv(partial, index=False, float_format="%.8g")
    write_report(table, everything, added, _about(cells, options, tokens), out)
    return LawComparison(finished=True, added=tuple(added), table=table)


def _about(cells: Sequence[PlannedRun], options: CompareOptions, sample_tokens: int) -> list[str]:
    config = cells[0].config
    step = config.batch_size * sample_tokens
    equal = (
        f"Every run takes {config.steps:,} steps of {step:,} tokens"
        if options.equal == "steps"
        else "Every encoder sees as many tokens in expectation; laws that mask less take fewer steps"
    )
    same = "Runs of one seed share windows, strands and initial weights"
    if options.equal != "steps":
        same += " (a longer run sees more windows)"
    return [
        f"Modality {config.modality}, backbone {config.model.backbone}, objective {config.model.objective}, "
        f"width {config.model.width}, depth {config.model.depth}. {equal}. {same}; they differ in their masks and "
        f"in nothing else. Seeds: {', '.join(map(str, options.seeds))}."
    ]


def run_cells(cells: Sequence[PlannedRun], num_workers: int, advance: Callable[[PlannedRun], object]) -> bool:
    """Run all cells that are not finished, in ``num_workers`` processes, each with a share of the cores.

    Returns
    -------
    bool
        False if it was interrupted: every run in progress has saved a checkpoint then, and goes on from there.

    Raises
    ------
    Dnar2maeError
        If a finished or interrupted cell was run with other settings, or a run fails.
    """
    waiting, done = [], 0
    for cell in cells:
        directory = RunDirectory(cell.path)
        if not directory.config_file.exists():
            shutil.rmtree(cell.path, ignore_errors=True)  # killed before it began
        else:
            directory.check(cell.config, resume=True, overwrite=False)
        if directory.summary_file.exists():
            advance(cell)
            done += 1
        else:
            waiting.append(cell)
    results = ((c, run_cell(c)) for c in waiting) if num_workers == 1 else _in_parallel(waiting, num_workers)
    for cell, finished in results:
        if not finished:
            break
        advance(cell)
        done += 1
    return done == len(cells)


def run_cell(cell: PlannedRun) -> bool:
    """Run or go on with one cell, its output in ``SEED.log`` beside it; tell whether it is finished."""
    from dnar2mae.training.pretrain import pretrain

    log = cell.path.with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    begun = RunDirectory(cell.path).config_file.exists()
    with log.open("a") as file, contextlib.redirect_stderr(file), contextlib.redirect_stdout(file):
        return pretrain(cell.config, cell.path, resume=begun).finished


def _in_parallel(cells: Sequence[PlannedRun], num_workers: int) -> Iterator[tuple[PlannedRun, bool]]:
    """Hand each worker its next cell when it has finished one, so that none begins after an interruption."""
    threads = max(1, torch.get_num_threads() // num_workers)
    queue = iter(cells)
    with ProcessPoolExecutor(num_workers, get_context("spawn"), initializer=_start_worker, initargs=(threads,)) as pool:
        running = {pool.submit(run_cell, cell): cell for cell in islice(queue, num_workers)}
        while running:
            try:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
            except KeyboardInterrupt:
                queue = iter(())  # the workers got the signal as well, and save
                continue
            for future in done:
                cell = running.pop(future)
                finished = future.result()
                if not finished:
                    queue = iter(())
                running |= {pool.submit(run_cell, following): following for following in islice(queue, 1)}
                yield cell, finished


def _start_worker(num_threads: int) -> None:
    # Between runs only: a run in progress installs a handler of its own, by which it saves and stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(num_threads)
