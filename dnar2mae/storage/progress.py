"""Progress of long work: a bar on a terminal."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# shorter work shows no bar
_DELAY_S = 1.0


class ProgressBar:
    """A bar on stderr, and the lines above it; made by :func:`progress_bar`.

    Parameters
    ----------
    title, total, completed, show
        See :func:`progress_bar`.
    """

    def __init__(self, title: str, total: int | None, completed: int, *, show: bool) -> None:
        self._title, self._total, self._completed, self._show = title, total, completed, show
        self._started = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __call__(self, completed: int, *, total: int | None = None, title: str | None = None) -> None:
        """Report how much is done; and the new total or title, where one changes."""
        self._completed, self._total, self._title = completed, total or self._total, title or self._title
        if self._bar is None and time.monotonic() - self._started > _DELAY_S:
            self.start()
        if self._bar is not None:
            self._bar.update(self._task, completed=completed, total=self._total, description=self._title)

    def advance(self, number: int = 1) -> None:
        """Report how much more is done; what goes beyond the total does not show."""
        done = self._completed + number
        self(done if self._total is None else min(done, self._total))

    def say(self, text: str) -> None:
        """Print a line on stderr, above the bar if there is one; print nothing where no bar may be shown."""
        if not self._show:
            return
        from rich.console import Console

        console = self._bar.console if self._bar is not None else Console(file=sys.stderr)
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    def start(self) -> None:
        """Draw the bar, if this is a terminal."""
        if not self._show or not sys.stderr.isatty():
            return
        from rich import progress
        from rich.console import Console

        title = progress.TextColumn("{task.description}", markup=False)
        columns = (title, progress.BarColumn(), progress.MofNCompleteColumn())
        times = (progress.TimeElapsedColumn(), progress.TextColumn("left"), progress.TimeRemainingColumn())
        self._bar = progress.Progress(*columns, *times, console=Console(file=sys.stderr), transient=True)
        self._task = self._bar.add_task(self._title, total=self._total, completed=self._completed)
        self._bar.start()

    def stop(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()


@contextmanager
def progress_bar(title: str, total: int | None, *, show: bool = True, at_once: bool = False) -> Iterator[ProgressBar]:
    """Yield ``update(completed)``; a bar appears on a terminal's stderr once the work has taken a second.

    Parameters
    ----------
    title
        The work, in a few words.
    total
        The value of ``completed`` at the end; None where it is not known yet.
    show
        False never shows a bar.
    at_once
        Show the bar before the first update: for work of which a single part takes minutes.
    """
    bar = ProgressBar(title, total, 0, show=show)
    try:
        if at_once:
            bar.start()
        yield bar
    finally:
        bar.stop()
