"""Progress of long work: a bar on a terminal, a line now and then where stderr is a file or a pipe."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

# shorter work shows no bar; and what is done that soon was done before (cells that an earlier call has finished)
_DELAY_S = 1.0
# between two lines off a terminal
_LINE_S = 30.0
_MB = 1_000_000


class ProgressBar:
    """A bar on stderr, or lines there, and the lines above it; made by :func:`progress_bar`.

    Parameters
    ----------
    title, total, show, unit
        See :func:`progress_bar`.
    completed
        What was done before.
    """

    _is_drawn: ClassVar[bool] = False
    after_s: float = 0.0
    """Seconds that will be needed after the last unit; the time left includes them."""

    def __init__(
        self, title: str, total: int | None, completed: int = 0, *, show: bool = True, unit: Literal["", "B"] = ""
    ) -> None:
        # as it is now: the work may send its own output elsewhere
        self._file, self._show, self._unit = sys.stderr, show, unit
        self._is_terminal = show and self._file.isatty()
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._bar: Any = None
        self._task: Any = None
        self.begin(title, total, completed)
        self._next_line = self._begun + _LINE_S

    def begin(self, title: str, total: int | None, completed: int = 0) -> None:
        """Turn to another part of the work, with a clock of its own."""
        self._title, self._total, self._completed, self._first = title, total, completed, completed
        self._begun = self._started = time.monotonic()
        self._draw()

    def __call__(self, completed: int, *, total: int | None = None, title: str | None = None) -> None:
        """Report how much is done; and the new total or title, where one changes."""
        now = time.monotonic()
        if now - self._begun < _DELAY_S or (total or self._total) != self._total:
            self._first, self._started = completed, now
        self._completed, self._total, self._title = completed, total or self._total, title or self._title
        if self._bar is None and now - self._begun > _DELAY_S:
            self.start()
        self._draw()
        self._line_if_due()

    def advance(self, number: int = 1) -> None:
        """Report how much more is done; what goes beyond the total does not show."""
        done = self._completed + number
        self(done if self._total is None else min(done, self._total))

    def pause(self, seconds: float) -> None:
        """Leave out of the rate the time that something else has taken."""
        self._started += seconds

    def say(self, text: str) -> None:
        """Print a line on stderr, above the bar if there is one; print nothing where no bar may be shown."""
        if not self._show:
            return
        from rich.console import Console

        console = self._bar.console if self._bar is not None else Console(file=self._file)
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    def line_next(self) -> None:
        """Print a line with the next update, however soon that comes."""
        self._next_line = time.monotonic()

    def start(self) -> None:
        """Draw the bar, if this is a terminal and no other bar is drawn: rich draws one at a time."""
        if not self._is_terminal or ProgressBar._is_drawn:
            return
        from rich import progress
        from rich.console import Console

        title = progress.TextColumn("{task.description}", markup=False)
        count = progress.DownloadColumn() if self._unit == "B" else progress.MofNCompleteColumn()
        times = (progress.TimeElapsedColumn(), progress.TextColumn("left"), progress.TimeRemainingColumn())
        columns = (title, progress.BarColumn(), count, *times)
        self._bar = progress.Progress(*columns, console=Console(file=self._file), transient=True)
        self._task = self._bar.add_task(self._title, total=self._total, completed=self._completed)
        self._bar.start()
        ProgressBar._is_drawn = True

    def tick(self) -> None:
        """Off a terminal, print a line every half minute from now on, even if no update comes meanwhile."""
        if self._show and not self._is_terminal:
            threading.Thread(target=self._ticks, daemon=True).start()

    def stop(self) -> None:
        """Remove the bar; print no more lines."""
        self._ended.set()
        if self._bar is not None:
            self._bar.stop()
            self._bar, ProgressBar._is_drawn = None, False

    def _draw(self) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=self._completed, total=self._total, description=self._title)

    def _line_if_due(self) -> None:
        # updates and ticks come from two threads
        with self._lock:
            is_due = time.monotonic() >= self._next_line
            if is_due:
                self._next_line = time.monotonic() + _LINE_S
        if is_due and not self._is_terminal:
            self.say(self._described())

    def _ticks(self) -> None:
        while not self._ended.wait(max(self._next_line - time.monotonic(), 0.01)):
            self._line_if_due()

    def _described(self) -> str:
        """Return the title, how much is done of how much, how quickly, and the time left (or how long it has taken)."""
        elapsed = max(time.monotonic() - self._started, 1e-9)
        rate = (self._completed - self._first) / elapsed
        if self._total is None:
            return f"{self._title}  {duration(time.monotonic() - self._begun)} so far"
        by, unit = (_MB, " MB") if self._unit == "B" else (1, "")
        done = f"{self._completed // by:,}/{self._total // by:,}{unit} ({self._completed / max(self._total, 1):.0%})"
        left = self._total - self._completed
        # nothing to go by yet, or work after the last unit of which nothing is known
        if rate <= 0 or left + self.after_s <= 0:
            return f"{self._title}  {done}  {duration(time.monotonic() - self._begun)} so far"
        per_s = rate / by
        speed = f"{per_s:,.1f}{unit} a second" if per_s >= 0.1 else f"{3600 * per_s:,.1f}{unit} an hour"
        return f"{self._title}  {done}  {speed}  left {duration(left / rate + self.after_s)}"


def duration(seconds: float) -> str:
    """Return a time in words, to about two digits."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def progress_bar(
    title: str, total: int | None, *, show: bool = True, at_once: bool = False, unit: Literal["", "B"] = ""
) -> Iterator[ProgressBar]:
    """Yield ``update(completed)``; a bar appears on a terminal's stderr once the work has taken a second.

    Where stderr is no terminal, a line is printed with an update that comes half a minute after the last line.

    Parameters
    ----------
    title
        The work, in a few words.
    total
        The value of ``completed`` at the end; None where it is not known yet.
    show
        False never shows anything.
    at_once
        Show the bar before the first update, and lines without updates: for work of which a single part takes minutes.
    unit
        ``B``: ``completed`` counts bytes.
    """
    bar = ProgressBar(title, total, show=show, unit=unit)
    try:
        if at_once:
            bar.start()
            bar.tick()
        yield bar
    finally:
        bar.stop()
