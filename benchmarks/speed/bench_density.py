"""Noise and cost of a model's bound on bits per base.

    python -m dnar2mae.benchmarks.speed.bench_density runs/ecoli

Of a run on DNA: by how much ratios spread over a batch lower the noise of a training step's estimate, by how much
antithetic pairs of masks lower that of the report's, and what the report costs beside bare forward passes.
Prints, and appends rows to ``benchmarks/results/density.csv``. One thread.
"""

import math
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro

from dnar2mae.batch import evenly_spaced
from dnar2mae.benchmarks.speed import rows
from dnar2mae.config import MaskConfig
from dnar2mae.density.hidden import evaluation_plan
from dnar2mae.inference import TrainedModel, load
from dnar2mae.masking import Masker, MaskPlan, plans_of_bound
from dnar2mae.training.bound import bound_of, sample_bounds, weights_of_bound
from dnar2mae.training.validation import masked_sums

RESULTS = Path(__file__).parents[1] / "results" / "density.csv"
_BATCH = 8


@dataclass(frozen=True, kw_only=True)
class DensitySettings:
    """Measure the noise and cost of a run's bound."""

    run: tyro.conf.Positional[Path]
    """Run directory."""
    steps: int = 120
    """Batches of 8 held-out windows, each estimated twice by every rule of drawing ratios."""
    windows: int = 64
    """Held-out windows of a report."""
    reports: int = 40
    """Reports of the same windows by other masks."""
    masks: int = 64
    """Masks of a window, an even number, of the bound whose cost is measured."""


@torch.no_grad()
def step_noise(trained: TrainedModel, steps: int) -> dict[str, float]:
    """Return the standard deviation of a step's estimate, its windows given, by how ratios are drawn.

    Each step is estimated twice, by two seeds: half the mean square of the difference is the variance.
    """
    source = trained.modality.validation
    noise: dict[str, float] = {}
    starts = evenly_spaced(len(source) - _BATCH, steps)
    rules: tuple[Literal["batch", "sample", "stratified"], ...] = ("batch", "sample", "stratified")
    for per in rules:
        mask = MaskConfig(low=0.0, high=1.0, per=per, weighting="bound", replace=(1.0, 0.0, 0.0))
        twins = []
        for masker in (Masker(mask, trained.modality.vocabulary, seed, steps) for seed in range(2)):
            estimates = []
            for step, start in enumerate(starts.tolist()):
                batch = source.batch(np.arange(start, start + _BATCH))
                batch = replace(batch, sample_ids=torch.arange(_BATCH) + step * _BATCH)
                losses, index = trained.model.masked_losses(masker.plan(step), batch)
                weights = weights_of_bound(masker, masker.plan(step), step, batch, index)
                estimates.append(float((losses * weights).sum() / batch.maskable.sum()) / math.log(2))
            twins.append(np.array(estimates))
        noise[per] = float(np.sqrt(((twins[0] - twins[1]) ** 2).mean() / 2))
    return noise


def report_noise(trained: TrainedModel, windows: int, reports: int) -> dict[str, float]:
    """Return the standard deviation between reports of the same windows, two masks each, by how these are drawn."""
    source, plan = trained.modality.validation, evaluation_plan(trained.modality.vocabulary)
    ids = evenly_spaced(len(source), windows)

    def value(plans: list[MaskPlan]) -> float:
        sums = np.stack([masked_sums(trained.model, source, part, ids) for part in plans])
        return bound_of(sums, trained.modality.unit_size).value

    def drawn(seed: int) -> list[MaskPlan]:
        return [plan.between(0, 1, 2 * seed), plan.between(0, 1, 2 * seed + 1)]

    def antithetic(seed: int) -> list[MaskPlan]:
        return [replace(part, seed=10**6 + seed) for part in plans_of_bound(plan, 1)]

    rules = {"drawn": drawn, "antithetic pairs": antithetic}
    return {name: float(np.std([value(rule(seed)) for seed in range(reports)])) for name, rule in rules.items()}


@torch.no_grad()
def cost(trained: TrainedModel, windows: int, masks: int) -> dict[str, float]:
    """Return the CPU seconds of a bound of so many masks, and of as many bare forward passes over the same windows."""
    source, plan = trained.modality.validation, evaluation_plan(trained.modality.vocabulary)
    ids = evenly_spaced(len(source), windows)
    measure = partial(masked_sums, trained.model)
    start = time.process_time()
    sample_bounds(measure, source, plan, ids, masks // 2)
    middle = time.process_time()
    for _ in range(masks):
        for part in np.array_split(ids, max(len(ids) // 16, 1)):
            trained.model.encode(source.batch(part))
    return {"bound": middle - start, "forward passes": time.process_time() - middle}


def main(settings: DensitySettings) -> int:
    """Measure, print, record."""
    torch.set_num_threads(1)
    trained = load(settings.run, device="cpu")
    stamp = rows.stamp()
    measured = {
        "noise of a step": (step_noise(trained, settings.steps), "sample"),
        "noise of a report": (report_noise(trained, settings.windows, settings.reports), "drawn"),
        "CPU seconds": (cost(trained, settings.windows, settings.masks), "forward passes"),
    }
    for measure, (values, against) in measured.items():
        for case, value in values.items():
            row = {"run": settings.run.name, "measure": measure, "case": case, "value": round(value, 5)}
            row["times"] = round(value / values[against], 3)
            rows.append(RESULTS, row | {name: stamp[name] for name in ("commit", "device", "date")})
            print(f"{measure}, {case}: {value:.4g}, {value / values[against]:.3f} times that of {against}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(DensitySettings)))
