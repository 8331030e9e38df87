"""Runs of a comparison, in parallel; finished ones are not run again."""

import contextlib
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from itertools import islice
from multiprocessing import get_context

from dnar2mae.laboratory.plan import PlannedRun
from dnar2mae.run.directory import RunDirectory

Advance = Callable[[PlannedRun], object]
"""Called with each cell that is finished."""


def run_cells(cells: Sequence[PlannedRun], num_workers: int, advance: Advance) -> bool:
    """Run all cells that are not finished.

    Parameters
    ----------
    cells
        The plan.
    num_workers
        Processes; each takes a share of the cores.
    advance
        Progress.

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
    import torch

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
    import torch

    # Between runs only: a run in progress installs a handler of its own, by which it saves and stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(num_threads)
