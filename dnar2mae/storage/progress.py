"""A progress bar for long passes over a genome."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_DELAY_S = 1.0


@contextmanager
def progress_bar(title: str, total: int, *, show: bool = True) -> Iterator[Callable[[int], None]]:
    """Yield ``update(completed)``; a bar appears on a terminal's stderr once the work has taken a second.

    Parameters
    ----------
    title
        What is being done.
    total
        The value of ``completed`` at the end.
    show
        False never shows a bar.
    """
    shown = show and sys.stderr.isatty()
    started = time.monotonic()
    bar = task = None

    def update(completed: int) -> None:
        nonlocal bar, task
        if bar is None and shown and time.monotonic() - started > _DELAY_S:
            from rich.console import Console
            from rich.progress import Progress

            bar = Progress(console=Console(stderr=True), transient=True)
            task = bar.add_task(title, total=total)
            bar.start()
        if bar is not None and task is not None:
            bar.update(task, completed=completed)

    try:
        yield update
    finally:
        if bar is not None:
            bar.stop()
