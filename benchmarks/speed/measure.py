"""How the kernel benchmarks time: cases, a gate of tests, quantiles, copy bandwidth, rows of a CSV file."""

import argparse
import csv
import datetime
import itertools
import subprocess
import sys
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


@dataclass(frozen=True, kw_only=True)
class Case:
    """One shape: ``tokens`` in windows of 512, ``vocabulary`` rows of ``width``."""

    tokens: int
    vocabulary: int
    width: int
    dtype: torch.dtype


@dataclass(frozen=True, kw_only=True)
class TimedCase:
    """What is timed for one case."""

    functions: dict[str, Callable[[], Tensor]]
    """Name of a backend to a function that gives its output."""
    parameters: list[Tensor] = field(repr=False)
    """What the backward pass gives a gradient to."""
    moved_bytes: int
    """Fewest bytes of the forward pass; the backward pass reads the output's gradient besides."""


def cases(quick: bool, dtypes: list[torch.dtype], device: str) -> list[Case]:
    """Shapes to time: few and small ones without a GPU."""
    if device == "cpu":
        return [Case(tokens=16_384, vocabulary=8, width=256, dtype=torch.float32)]
    sizes = ([1 << 18], [8], [768]) if quick else ([1 << 14, 1 << 18, 1 << 20], [8, 4104, 32_768], [256, 768, 1024])
    grid = itertools.product(*sizes, dtypes)
    return [Case(tokens=n, vocabulary=v, width=d, dtype=dtype) for n, v, d, dtype in grid]


def run(op: str, problem: Callable[[Case, str], TimedCase]) -> int:
    """Test the operator, then time it and its rivals and append the rows; give the exit status."""
    parser = argparse.ArgumentParser(description=f"Time {op} against eager PyTorch and torch.compile.")
    parser.add_argument("--quick", action="store_true", help="one shape instead of all")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], help="only this one of the two")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if not _tests_pass(op, device):
        return 1
    if device == "cpu":
        print("The Triton figures need a CUDA GPU; here only the definition and eager PyTorch are timed.")
    copy = copy_bandwidth(device)
    print(f"copy {copy / 1e9:.0f} GB/s, read and written")
    names = [options.dtype] if options.dtype else ["bfloat16", "float32"]
    for case in cases(options.quick, [getattr(torch, name) for name in names], device):
        rows = [{**row, "copy_gb_per_s": round(copy / 1e9, 1)} for row in _time_case(op, case, problem, device)]
        _append(rows)
        for row in rows:
            print(*(f"{row[name]}" for name in [*KEY[1:], "ms_p50", "gb_per_s"]), sep="\t")
    return 0


def quantiles_ms(function: Callable[[], object], device: str, repeats: int) -> list[float]:
    """Return the 20th, 50th and 80th percentile of a call in milliseconds, with a cold L2 cache on a GPU."""
    for _ in range(3):
        function()
    times = [_time_cuda(function) if device == "cuda" else _time_cpu(function) for _ in range(repeats)]
    return torch.tensor(times, dtype=torch.float64).quantile(torch.tensor([0.2, 0.5, 0.8]).double()).tolist()


def copy_bandwidth(device: str) -> float:
    """Bytes per second of a device-to-device copy, read plus written."""
    source = torch.randint(0, 255, (1 << (30 if device == "cuda" else 27),), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / (quantiles_ms(lambda: target.copy_(source), device, 20)[1] / 1e3)


def _time_cuda(function: Callable[[], object]) -> float:
    torch.empty(1 << 28, dtype=torch.uint8, device="cuda").zero_()  # evict what the last call left in the L2 cache
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    function()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def _time_cpu(function: Callable[[], object]) -> float:
    start = datetime.datetime.now()
    function()
    return (datetime.datetime.now() - start).total_seconds() * 1e3


def _time_case(op: str, case: Case, problem: Callable[[Case, str], TimedCase], device: str) -> list[dict]:
    torch.compiler.reset()  # a function compiled for too many shapes falls back to eager
    case_problem = problem(case, device)
    grad = torch.randn(case.tokens, case.width, device=device).to(case.dtype)
    rows = []
    for backend, function in case_problem.functions.items():

        def both(function: Callable[[], Tensor] = function) -> None:
            out = function().flatten(0, -2)
            torch.autograd.grad(out, case_problem.parameters, grad[: len(out)])

        moved = {"forward": case_problem.moved_bytes, "forward+backward": case_problem.moved_bytes + grad.nbytes}
        for mode, call in (("forward", function), ("forward+backward", both)):
            p20, p50, p80 = quantiles_ms(call, device, REPEATS)
            key = [op, backend, mode, str(case.dtype).removeprefix("torch."), case.tokens, case.vocabulary, case.width]
            times = {"ms_p20": round(p20, 4), "ms_p50": round(p50, 4), "ms_p80": round(p80, 4)}
            speed = {"gb_per_s": round(moved[mode] / p50 / 1e6, 1)}
            rows.append({**dict(zip(KEY, key, strict=True)), **times, **speed, **_where(device)})
    return rows


def _where(device: str) -> dict[str, str]:
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    today = datetime.date.today().isoformat()
    return {"device": name, "torch": torch.__version__, "commit": commit or "unknown", "date": today}


def _tests_pass(op: str, device: str) -> bool:
    """Run the operator's tests, without the checks of shapes and warnings that need the test extra."""
    tier = "not slow" if device == "cuda" else "not slow and not gpu"
    settings = ["addopts=--import-mode=importlib", "filterwarnings=default", "pythonpath="]
    options = [word for setting in settings for word in ("-o", setting)]
    command = [sys.executable, "-m", "pytest", "-q", "-m", tier, *options, f"tests/kernels/test_{op}.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{op}: its tests fail, so nothing is timed\n{done.stdout[-2000:]}{done.stderr[-2000:]}", file=sys.stderr)
    return done.returncode == 0


def _append(rows: list[dict]) -> None:
    ROWS.parent.mkdir(exist_ok=True)
    is_new = not ROWS.exists()
    with ROWS.open("a", newline="") as handle:
        writer = csv.DictWriter(handle, FIELDS)
        if is_new:
            writer.writeheader()
        writer.writerows(rows)
