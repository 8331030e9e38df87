"""Ending a run before its last step: by a signal or a time limit, on which all ranks agree."""

import signal
import threading
import time
from contextlib import suppress
from multiprocessing import forkserver
from types import FrameType
from typing import Any

import torch

from dnar2mae.distributed import Ranks

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_TIME_IS_UP = 1000  # above every signal number, so that it wins where ranks take the largest reason
_MOST_STEPS, _MOST_MS = 10, 2000  # limits between two agreements of the ranks


def ignore_signals(_worker: int = 0) -> None:
    """Ignore the stop signals: a worker must live until the loop has saved its checkpoint."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def start_forkserver() -> None:
    """Start the process that forks workers with the stop signals ignored: a terminal sends these to all processes."""
    if threading.current_thread() is not threading.main_thread():
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    ignore_signals()
    try:
        forkserver.ensure_running()  # ignored signals stay ignored across exec
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StopRequested(Exception):
    """Raised to make a run save and end; the message is the reason."""


class StopRequests:
    """A context manager that catches SIGINT, SIGTERM and SIGUSR1, so that the run can save before it ends.

    A second SIGINT interrupts at once; the other signals may come again. Outside the main thread, where Python allows
    no handlers, signals keep the handlers of the caller.

    Parameters
    ----------
    max_hours
        Time after which the run is to end; None for no limit.
    ranks, device
        The ranks, which agree by a collective on the device.
    """

    def __init__(self, max_hours: float | None, ranks: Ranks, device: torch.device) -> None:
        self._hours, self._ranks, self._device = max_hours, ranks, device
        self._received = 0
        self._before: dict[int, Any] = {}
        self._steps, self._interval = 0, 1
        self._begun = self._agreed = time.monotonic()

    def __enter__(self) -> "StopRequests":
        with suppress(ValueError):  # not the main thread
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        if number == signal.SIGINT:
            signal.signal(number, self._before[number])

    def check(self) -> None:
        """Raise :class:`StopRequested` if the run is to end; every rank must call it at the same time."""
        if reason := self.now():
            raise StopRequested(reason)

    def after_step(self) -> str | None:
        """Return the signal or time limit that ends the run after this step; every rank must call it after every step.

        Ranks agree every 10 steps, or as often as is needed to do so every 2 seconds.
        """
        self._steps += 1
        if self._ranks.size > 1 and self._steps < self._interval:
            return None
        return self.now()

    def now(self) -> str | None:
        """Return the signal or time limit that ends the run now; every rank must call it at the same time."""
        # A rank that stopped alone would leave the others waiting in a collective, so all take the largest answer.
        late = self._hours is not None and time.monotonic() - self._begun > self._hours * 3600
        mine = self._received or (_TIME_IS_UP if late else 0)
        elapsed = int((time.monotonic() - self._agreed) * 1000)
        agreed, elapsed = self._ranks.all_max(mine, elapsed, device=self._device)
        steps_in_time = max(self._steps, 1) * _MOST_MS // max(elapsed, 1)
        self._interval = min(max(steps_in_time, 1), _MOST_STEPS)
        self._steps, self._agreed = 0, time.monotonic()
        if not agreed:
            return None
        return f"--max-hours {self._hours}" if agreed == _TIME_IS_UP else signal.Signals(agreed).name
