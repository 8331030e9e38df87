import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dnar2mae.finetuning.options import TuningSettings
from dnar2mae.finetuning.tuner import SHUFFLE, MemoryTuner, Rate


class Points:
    """Points of two classes; the values on dev are given, or those of the network."""

    num_rows = 50

    def __init__(self, on_dev=None):
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(50, 4, generator=generator)
        self.y = (self.x[:, 0] > 0).long()
        self.on_dev = iter(on_dev) if on_dev else None
        self.seen = []

    def losses(self, network, rows, step):
        self.seen.append(rows.tolist())
        losses = F.cross_entropy(network(self.x[rows]), self.y[rows], reduction="sum")
        return losses, losses.new_tensor(float(len(rows)))

    def held_out(self, network, check):
        with torch.no_grad():
            loss = float(F.cross_entropy(network(self.x), self.y))
        return {"held_out": next(self.on_dev) if self.on_dev else loss}


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2))


@pytest.mark.parametrize(
    "settings",
    [
        TuningSettings(batch_size=16, epochs=3, warmup_steps=4, clip=0.3),
        TuningSettings(batch_size=7, epochs=2, warmup_share=0.25, clip=None, schedule="constant"),
        TuningSettings(batch_size=50, max_steps=5, weight_decay=0.5),
    ],
)
def test_the_loop_is_the_plain_one(settings):
    tuned, plain, problem = network(), network(), Points()
    lowest = MemoryTuner(tuned, problem, settings, Rate(0.01, 3)).run()
    matrices = [p for p in plain.parameters() if p.ndim > 1]
    vectors = [p for p in plain.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.01)
    num_batches = math.ceil(50 / settings.batch_size)
    steps = settings.max_steps or settings.epochs * num_batches
    warmup = settings.warmup_steps or round(settings.warmup_share * steps)

    def factor(step):
        rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
        fall = min(1.0, (steps - step) / (steps - warmup)) if settings.schedule == "linear" else 1.0
        return rise * fall

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    values, states = [], []
    for step in range(steps):
        epoch, batch = divmod(step, num_batches)
        order = np.random.default_rng((SHUFFLE, 3, epoch)).permutation(50)
        rows = order[batch * settings.batch_size : (batch + 1) * settings.batch_size]
        assert problem.seen[step] == rows.tolist()
        optimizer.zero_grad()
        F.cross_entropy(plain(problem.x[rows]), problem.y[rows]).backward()
        if settings.clip is not None:
            nn.utils.clip_grad_norm_(plain.parameters(), settings.clip)
        optimizer.step()
        schedule.step()
        if (step + 1) % num_batches == 0 or step + 1 == steps:
            values.append(float(F.cross_entropy(plain(problem.x), problem.y).detach()))
            states.append({name: value.clone() for name, value in plain.state_dict().items()})
    best = states[int(np.argmin(values))]
    assert lowest == min(values)
    assert all(torch.equal(value, best[name]) for name, value in tuned.state_dict().items())


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ([3.0, 2.0, 2.5, 2.5, 1.0], 4),  # two in a row that are no better: the last is never reached
        ([3.0, 2.0, 2.0, 1.0, 1.0, 1.0], 6),  # an equal value is no better
        ([math.nan, math.nan, 1.0], 2),
        ([5.0, 4.0, 3.0, 2.0, 1.0, 0.5], 6),
    ],
)
def test_patience_counts_evaluations_without_a_better_one(values, steps):
    problem = Points(on_dev=values)
    tuner = MemoryTuner(network(), problem, TuningSettings(batch_size=50, epochs=6, patience=2), Rate(0.01, 0))
    tuner.run()
    assert tuner.step == len(problem.seen) == steps


def test_a_gradient_that_is_not_finite_changes_nothing():
    class Broken(Points):
        def losses(self, network, rows, step):
            losses, weight = super().losses(network, rows, step)
            return losses * (math.nan if step == 1 else 1.0), weight

    def trained(problem, steps):
        made = network()
        MemoryTuner(
            made, problem, TuningSettings(batch_size=50, epochs=steps, schedule="constant"), Rate(0.01, 0)
        ).run()
        return made.state_dict()

    broken, whole = trained(Broken(), 2), trained(Points(), 1)
    assert all(torch.equal(value, whole[name]) for name, value in broken.items())
