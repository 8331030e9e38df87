"""Runs of a comparison side by side: worker processes that do one after the other, and outlive one that fails."""

import contextlib
import shutil
import signal
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing import connection, get_context
from typing import Any, NamedTuple

import torch

from dnar2mae.errors import reason
from dnar2mae.laboratory.columns import is_measured, measure_columns
from dnar2mae.laboratory.plan import PlannedRun
from dnar2mae.run.checkpoint import checkpoints
from dnar2mae.run.directory import RunDirectory
from dnar2mae.run.workers import end_with_parent

_MOST_CELLS = 40  # of a process: what measuring leaves in memory adds up


class Outcome(NamedTuple):
    """How the work on a cell ended."""

    finished: bool
    """Trained and measured; else it failed, or was interrupted and goes on later."""
    error: str = ""
    """What it failed of; empty where it did not."""


def run_cells(cells: Sequence[PlannedRun], num_workers: int) -> Iterator[tuple[PlannedRun, Outcome]]:
    """Run and measure all cells that are not finished, in ``num_workers`` processes, each with a share of the cores.

    Yields
    ------
    cell, outcome
        Finished ones first. After an interruption no further cell begins: those in progress have saved a checkpoint.

    Raises
    ------
    Dnar2maeError
        If a finished or interrupted cell was run with other settings: before anything runs.
    """
    for cell in cells:
        directory = RunDirectory(cell.path)
        if directory.config_file.exists():
            directory.check(cell.config, resume=True, overwrite=False)
        else:
            shutil.rmtree(cell.path, ignore_errors=True)  # killed before it began
    waiting = []
    for cell in cells:
        if is_measured(cell):
            yield cell, Outcome(True)
        else:
            waiting.append(cell)
    yield from _in_turn(waiting) if num_workers == 1 else _in_parallel(waiting, num_workers)


def _in_turn(cells: Sequence[PlannedRun]) -> Iterator[tuple[PlannedRun, Outcome]]:
    for cell in cells:
        outcome = run_cell(cell)
        yield cell, outcome
        if not outcome.finished and not outcome.error:
            return


def run_cell(cell: PlannedRun) -> Outcome:
    """Train, or go on training, and measure one cell; its output goes to a log beside it."""
    from dnar2mae.training.pretrain import pretrain

    cell.log.parent.mkdir(parents=True, exist_ok=True)
    run = RunDirectory(cell.path)
    with cell.log.open("a") as file, contextlib.redirect_stderr(file), contextlib.redirect_stdout(file):
        try:
            if not (run.summary_file.exists() and checkpoints(cell.path)):
                begun = run.config_file.exists()
                if not pretrain(cell.config, cell.path, resume=begun, extras=cell.extras).finished:
                    return Outcome(False)
            measure_columns(cell)
        except Exception as error:  # noqa: BLE001 - whatever a cell fails of, the others go on
            traceback.print_exc()
            return Outcome(False, reason(error))
    return Outcome(True)


class _Worker:
    """A process that is given cells."""

    def __init__(self, num_threads: int) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, num_threads))
        self.process.start()
        theirs.close()  # so that the end of the process ends the pipe
        self.cell: PlannedRun | None = None
        self.cells_left = _MOST_CELLS

    def give(self, cell: PlannedRun) -> None:
        self.cell = cell
        self.cells_left -= 1
        self.pipe.send(cell)

    def take(self) -> Outcome | None:
        """Return the outcome of its cell; None if the process has died."""
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionError):
            return None

    def end(self) -> None:
        """End the process, which is idle or has died."""
        self.pipe.close()
        self.process.join()


def _in_parallel(cells: Sequence[PlannedRun], num_workers: int) -> Iterator[tuple[PlannedRun, Outcome]]:
    """Hand each worker its next cell when it has finished one, so that none begins after an interruption."""
    threads = max(1, torch.get_num_threads() // num_workers)
    waiting = deque(cells)
    workers: list[_Worker] = []
    try:
        while waiting or any(worker.cell for worker in workers):
            while waiting and len(workers) < num_workers:
                workers.append(_Worker(threads))
            for worker in workers:
                if waiting and worker.cell is None:
                    worker.give(waiting.popleft())
            try:
                ready = connection.wait([worker.pipe for worker in workers if worker.cell])
            except KeyboardInterrupt:
                waiting.clear()  # the workers got the signal as well, and save
                continue
            for worker in [worker for worker in workers if worker.pipe in ready]:
                cell, outcome = worker.cell, worker.take()
                assert cell is not None
                worker.cell = None
                if outcome is None or not worker.cells_left:
                    workers.remove(worker)
                    worker.end()
                outcome = outcome or Outcome(False, f"its process ended with {worker.process.exitcode}")
                if not outcome.finished and not outcome.error:
                    waiting.clear()
                yield cell, outcome
    finally:
        for worker in workers:
            worker.pipe.close()  # which ends an idle one
            if worker.cell:
                worker.process.terminate()  # its run saves first
        for worker in workers:
            worker.process.join()


def _serve(pipe: Any, num_threads: int) -> None:
    # Between runs only: a run in progress installs a handler of its own, by which it saves and stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(num_threads)
    end_with_parent()  # the same command run again must find no rival
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            pipe.send(run_cell(pipe.recv()))
