"""A minute's run on a real genome, by the command that a user types, with as many steps as the GPU does in it."""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from dnar2mae.benchmarks.speed.end_to_end import EndToEndSettings, run_config, time_ours
from dnar2mae.benchmarks.speed.parts.context import Context
from dnar2mae.genome.simulate import SimulateConfig, simulate
from dnar2mae.presets import PRESETS
from dnar2mae.run.metrics import NAME

_SECONDS = 38  # of training steps, in a minute that also validates and fits the yardstick
_VALIDATIONS = 8
_BATCH = {"tiny": 256, "small": 128}  # windows of a step; a micro-batch of the others, so that a minute has many steps


def run(context: Context) -> None:
    """Write held-out losses and rates to ``pretraining.csv`` while a run goes on, and its summary at the end."""
    with tempfile.TemporaryDirectory() as folder:
        genome = context.genome or _simulated(Path(folder), 60_000 if context.dry else 4_000_000)
        for preset in context.presets:
            with context.attempt(f"pretraining {preset}"):
                _run(context, genome, preset, Path(folder))


def _run(context: Context, genome: Path, preset: str, folder: Path) -> None:
    """Time some steps, and begin a run of as many as the GPU does in its seconds."""
    batch = _BATCH.get(preset) or PRESETS[preset]().micro_batch
    settings = EndToEndSettings(preset=preset, context=1024, batch=batch, steps=20, workers=4)
    if context.dry:
        settings = EndToEndSettings(preset="tiny", context=64, batch=2, steps=2)
    own = PRESETS[settings.preset]()
    config = run_config(settings, genome, "mlm")
    config = replace(config, mask=own.mask, model=own.model, optimizer=own.optimizer)
    timed = time_ours(config, folder)
    steps = 2 * _VALIDATIONS if context.dry else int(_SECONDS * settings.steps / timed["seconds"])
    about = {"genome": genome.name, "preset": settings.preset, "window_bp": settings.context}
    about |= {"batch": settings.batch, "steps": steps}
    follow(context, about, _line(genome, settings, steps), folder / preset)


def follow(context: Context, about: dict[str, Any], line: list[str], out: Path) -> None:
    """Start a run and write a row for each of its validations, and each figure of its summary."""
    done = 0
    with subprocess.Popen([*line, "--out", str(out)]) as process:
        ended = False
        while not ended:
            ended = process.poll() is not None
            rows = _rows(out / NAME)
            for row in rows[done:]:
                if row["event"] == "validation":
                    value = {"what": "held out", "at": row["step"], "value": round(row["held_out"], 5)}
                    context.append("pretraining", about | value)
            done = len(rows)
            time.sleep(0.5)
    rates = [row["tokens_per_s"] for row in _rows(out / NAME) if row["event"] == "train"]
    figures = {("tokens a second", "median"): sorted(rates)[len(rates) // 2]} if rates else {}
    if (out / "summary.json").exists():
        figures |= _figures(json.loads((out / "summary.json").read_text()))
    for (what, at), value in figures.items():
        context.append("pretraining", {**about, "what": what, "at": at, "value": round(value, 5)})
    if process.returncode:
        context.failures.append(f"exit status {process.returncode} of {' '.join(line)}")


def _figures(summary: dict[str, Any]) -> dict[tuple[str, str], float]:
    whole = {(name, ""): summary[name] for name in ("parameters", "seconds", "untrained", "held_out")}
    parts = {(kind, at): value for kind in ("curve", "yardstick") for at, value in summary[kind].items()}
    return {**whole, **parts}


def _line(genome: Path, settings: EndToEndSettings, steps: int) -> list[str]:
    flags = {"preset": settings.preset, "data.window-bp": settings.context, "batch-size": settings.batch}
    flags |= {"steps": steps, "optimizer.warmup-steps": steps // 10, "validate-every": steps // _VALIDATIONS}
    windows = 256 if settings.preset in _BATCH else 64  # which a large model takes seconds to go through
    flags |= {"checkpoint-every": steps, "validation-windows": windows, "num-workers": settings.workers}
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    return [sys.executable, "-m", "dnar2mae.cli", "pretrain", str(genome), *words]


def _rows(metrics: Path) -> list[dict[str, Any]]:
    """Read the whole lines of a file that is being written."""
    text = metrics.read_text() if metrics.exists() else ""
    return [json.loads(line) for line in text.rpartition("\n")[0].splitlines()]


def _simulated(folder: Path, length_bp: int) -> Path:
    simulate(SimulateConfig(length_bp=length_bp, chromosomes=1)).write(folder / "simulated.fa", folder / "genes.gff3")
    return folder / "simulated.fa"
