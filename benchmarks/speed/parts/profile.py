"""Where a training step leaves the GPU idle: a trace for chrome://tracing, and its ten longest gaps."""

import gzip
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity

from dnar2mae.benchmarks.speed.end_to_end import (
    WARM_UP,
    EndToEndSettings,
    random_genome,
    run_config,
    synchronise,
    training_steps,
)
from dnar2mae.benchmarks.speed.parts.context import Context
from dnar2mae.training.device import choose_device

TRACE = "trace.json.gz"
_STEPS = 3
_ON_GPU = ("kernel", "gpu_memcpy", "gpu_memset")
_WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


def run(context: Context) -> None:
    """Write ``trace.json.gz``, and to ``profile.csv`` the GPU's activity in a step and its ten longest gaps."""
    settings = EndToEndSettings(preset="small", context=1024, batch=64, steps=_STEPS)
    if context.dry:
        settings = EndToEndSettings(preset="tiny", context=32, batch=2, steps=_STEPS)
    with tempfile.TemporaryDirectory() as folder:
        config = run_config(settings, random_genome(Path(folder)), "mlm")
        steps = training_steps(config, Path(folder))
        for _ in range(WARM_UP):
            next(steps)
        synchronise()
        activities = [ProfilerActivity.CPU, *([] if context.dry else [ProfilerActivity.CUDA])]
        with torch.profiler.profile(activities=activities) as profile:
            for _ in steps:
                pass
            synchronise()
    profile.export_chrome_trace(str(context.out / TRACE))
    with gzip.open(context.out / TRACE) as file:
        events = [event for event in json.load(file)["traceEvents"] if event.get("ph") == "X"]
    about = {"preset": settings.preset, "context_tokens": settings.context, "batch": settings.batch}
    about["dtype"] = str(choose_device(config)[1] or torch.float32).removeprefix("torch.")
    work = [event for event in events if event.get("cat") in (("cpu_op",) if context.dry else _ON_GPU)]
    for name, value in _summary(work, events).items():
        context.append("profile", {**about, "what": name, "value": value, "before": "", "after": ""})
    for gap, before, after in longest_gaps(work):
        row = {"what": "gap, us", "value": round(gap, 1), "before": before[:120], "after": after[:120]}
        context.append("profile", {**about, **row})


def longest_gaps(events: Iterable[dict], count: int = 10) -> list[tuple[float, str, str]]:
    """Return the longest stretches in which none of the events runs: microseconds, and the events before and after.

    Events are complete ones of a chrome trace: ``ts`` and ``dur`` in microseconds, and ``name``.
    """
    ordered = sorted(events, key=lambda event: event["ts"])
    gaps, end, last = [], ordered[0]["ts"], ""
    for event in ordered:
        if event["ts"] > end:
            gaps.append((event["ts"] - end, last, event["name"]))
        if event["ts"] + event["dur"] > end:
            end, last = event["ts"] + event["dur"], event["name"]
    return sorted(gaps, reverse=True)[:count]


def _summary(work: list[dict], events: list[dict]) -> dict[str, float]:
    start, end = min(e["ts"] for e in work), max(e["ts"] + e["dur"] for e in work)
    idle = sum(gap for gap, *_ in longest_gaps(work, len(work)))
    return {
        "step, us": round((end - start) / _STEPS, 1),
        "busy share": round(1 - idle / (end - start), 3),
        "launches a step": round(len(work) / _STEPS, 1),
        "of them below 5 us": round(sum(e["dur"] < 5 for e in work) / _STEPS, 1),
        "copies to the host a step": round(sum("DtoH" in e["name"] for e in work) / _STEPS, 1),
        "waits of the host a step": round(sum(e["name"] in _WAITS for e in events) / _STEPS, 1),
    }
