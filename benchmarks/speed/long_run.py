"""Whether a long run slows down or grows: ``dnar2mae pretrain`` watched from outside.

    python -m dnar2mae.benchmarks.speed.long_run --steps 10000

Prints steps per second, processor time a step and resident memory for every tenth of the run, and appends a row each to
``benchmarks/results/long_run.csv``. Linux only. The ratio law is R2MAE's, so that the number of predictions changes
from step to step. Periodic validations and checkpoints are part of it. Processor time is what to go by where other
programs run.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pandas as pd
import torch
import tyro

from dnar2mae.benchmarks.speed.end_to_end import random_genome
from dnar2mae.benchmarks.speed.rows import stamp
from dnar2mae.run.directory import environment

RESULTS = Path(__file__).parents[1] / "results" / "long_run.csv"
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6
_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class LongRunSettings:
    """Watch a long run; all else is the tiny preset."""

    steps: int = 10_000
    """Optimizer steps."""
    window_bp: int = 128
    """Tokens of a window, one a base."""
    batch: int = 8
    """Windows of a step."""
    objective: str = "mlm"
    """mlm or mae."""
    workers: int = 0
    """Processes that prepare batches; their memory is not counted."""


def watch(settings: LongRunSettings, folder: Path) -> pd.DataFrame:
    """Sample seconds, step, resident megabytes and milliseconds of processor time, about once a second."""
    run = folder / "run"
    line = [sys.executable, "-m", "dnar2mae.cli", "pretrain", str(random_genome(folder)), "--out", str(run)]
    line += ["--steps", str(settings.steps), "--batch-size", str(settings.batch)]
    line += ["--data.window-bp", str(settings.window_bp), "--model.objective", settings.objective]
    line += ["--num-workers", str(settings.workers)]
    samples = []
    with (folder / "log.txt").open("w") as log, subprocess.Popen(line, stdout=log, stderr=log) as process:
        while process.poll() is None:
            time.sleep(1)
            step = _last_step(run / "metrics.jsonl")
            try:
                pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
                ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]  # utime, stime
            except (OSError, IndexError):
                break
            if step:
                samples.append((time.monotonic(), step, pages * _PAGE_MB, sum(map(int, ticks)) * _TICK_MS))
    if process.wait():
        raise SystemExit((folder / "log.txt").read_text()[-2000:])
    return pd.DataFrame(samples, columns=["seconds", "step", "memory_mb", "cpu_ms"])


def _last_step(metrics: Path) -> int:
    if not metrics.exists():
        return 0
    with metrics.open("rb") as file:
        file.seek(max(metrics.stat().st_size - 1000, 0))
        lines = file.read().rpartition(b"\n")[0].splitlines()  # the last one may be half written
    return json.loads(lines[-1])["step"] if lines else 0


def tenths(samples: pd.DataFrame, steps: int) -> pd.DataFrame:
    """Return rate and largest memory of every tenth of the run."""
    rows = []
    for first, last in pairwise(range(0, steps + 1, steps // 10)):
        part = samples[(samples["step"] > first) & (samples["step"] <= last)]
        if len(part) > 1:
            done = part.iloc[-1] - part.iloc[0]
            rates = done["step"] / done["seconds"], done["cpu_ms"] / done["step"]
            rows.append((last, *rates, part["memory_mb"].max()))
    return pd.DataFrame(rows, columns=["step", "steps_per_s", "cpu_ms_per_step", "memory_mb"]).round(1)


def main() -> None:
    """Run, print, append."""
    settings = tyro.cli(LongRunSettings, description=__doc__)
    with tempfile.TemporaryDirectory() as folder:
        table = tenths(watch(settings, Path(folder)), settings.steps)
    print(table.to_string(index=False))
    about, started = stamp(), environment()["started"]
    rows = table.assign(started=started, commit=about["commit"], torch=about["torch"])
    rows = rows.assign(objective=settings.objective, threads=torch.get_num_threads())
    rows = rows.assign(window_bp=settings.window_bp, batch=settings.batch, workers=settings.workers)
    rows = rows.assign(device=about["device"], date=started[:10])
    rows.to_csv(RESULTS, mode="a", header=not RESULTS.exists(), index=False)


if __name__ == "__main__":
    main()
