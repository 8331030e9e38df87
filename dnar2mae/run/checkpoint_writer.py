"""Checkpoints written in the background, while training goes on."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from dnar2mae.errors import RunError
from dnar2mae.run.checkpoint import Snapshot, prune


class CheckpointWriter:
    """A context manager that writes the checkpoints of one run in a thread of its own, one at a time.

    Leaving the context waits for the last checkpoint. An error of the thread is raised in the loop: by the next
    :meth:`save`, :meth:`check` or, at the latest, on leaving the context (where an earlier error goes first). The last
    ``keep`` checkpoints are kept, besides the named ones (``best``, ``stable``, ``ema``).
    """

    def __init__(self, run: Path, keep: int) -> None:
        self._run, self._keep = run, keep
        self._pool = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.wait()
        except RunError:
            if kind is None:
                raise

    def save(self, name: str, snapshot: Snapshot) -> None:
        """Write a snapshot to ``checkpoints/name`` while the caller goes on.

        Raises
        ------
        RunError
            If the checkpoint before this one could not be written.
        """
        self.wait()
        self._writing = self._pool.submit(self._write, name, snapshot)

    def check(self) -> None:
        """Raise the error of a checkpoint that could not be written, if there is one, without waiting."""
        if self._writing and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Wait until the last checkpoint is on disk.

        Raises
        ------
        RunError
            If it could not be written.
        """
        writing, self._writing = self._writing, None
        if writing:
            writing.result()

    def _write(self, name: str, snapshot: Snapshot) -> None:
        folder = self._run / "checkpoints" / name
        snapshot.write(folder)
        if snapshot.averages and name.startswith("step-"):
            snapshot.averaged().write(folder.with_name("ema"))
        if name.startswith("step-"):
            prune(self._run, self._keep, newest=name)
