"""Timing of the kernel benchmarks: cases, quantiles, copy bandwidth, and the columns of their rows."""

import datetime
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
ROWS = ROOT / "benchmarks" / "results" / "speed.csv"
KEY = ["op", "backend", "mode", "dtype", "tokens", "vocabulary", "width"]
FIELDS = [*KEY, "ms_p20", "ms_p50", "ms_p80", "gb_per_s", "copy_gb_per_s", "device", "torch", "commit", "date"]
LENGTH = 512
REPEATS = 50
OPERATORS = tuple(
    module.name.removeprefix("bench_")
    for module in pkgutil.iter_modules([str(Path(__file__).parent)])
    if (ROOT / "kernels" / module.name.removeprefix("bench_")).is_dir()
)
"""What is timed: the folders of ``kernels/`` that have a ``bench_NAME.py``, whose ``problem`` makes a TimedCase."""
SLEEP_CYCLES = 10_000_000
"""About 5 ms on a GPU: longer than Python takes to enqueue any of the calls."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One shape: ``tokens`` in windows of 512, ``vocabulary`` rows of ``width``."""

    tokens: int
    vocabulary: int
    width: int
    dtype: torch.dtype


@dataclass(frozen=True, kw_only=True)
class TimedCase:
    """The timed functions of one case."""

    functions: dict[str, Callable[[], Tensor]]
    """Function that computes the output, by name of the backend."""
    parameters: list[Tensor] = field(repr=False)
    """Leaves of the backward pass."""
    moved_bytes: Callable[[Tensor], int]
    """Fewest bytes that the forward pass must move, from its output; the backward pass adds the output's gradient."""


def quantiles_ms(function: Callable[[], object], device: str, repeats: int) -> list[float]:
    """Return the 20th, 50th and 80th percentile of a call in milliseconds, with a cold L2 cache on a GPU."""
    for _ in range(3):  # compilation, autotuning and allocation
        function()
    times = [_time_cuda(function) if device == "cuda" else _time_cpu(function) for _ in range(repeats)]
    return torch.tensor(times, dtype=torch.float64).quantile(torch.tensor([0.2, 0.5, 0.8]).double()).tolist()


def copy_bandwidth(device: str) -> float:
    """Return the bytes per second of a device-to-device copy, read plus written."""
    source = torch.randint(0, 255, (1 << (30 if device == "cuda" else 27),), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / (quantiles_ms(lambda: target.copy_(source), device, 20)[1] / 1e3)


def _time_cuda(function: Callable[[], object]) -> float:
    """Return the milliseconds that a call keeps the GPU busy.

    The GPU sleeps while Python enqueues the call, so that the events bracket the kernels and not the dispatch, unless
    the call itself waits for the GPU.
    """
    torch.empty(1 << 28, dtype=torch.uint8, device="cuda").zero_()  # evict what the last call left in the L2 cache
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda._sleep(SLEEP_CYCLES)
    start.record()
    function()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def _time_cpu(function: Callable[[], object]) -> float:
    start = datetime.datetime.now()
    function()
    return (datetime.datetime.now() - start).total_seconds() * 1e3
