"""Validations of a training run, each with what the run had cost until then."""

import math
import time
from dataclasses import dataclass

import numpy as np

from dnar2mae.benchmarks.speed.end_to_end import synchronise
from dnar2mae.benchmarks.speed.learners import HeldOut, Learner
from dnar2mae.masking.draw import RATIO
from dnar2mae.training.validation import CURVE

_AREA_EVERY = 5  # validations, from the last backwards: the curve takes five times as long as one ratio


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A validation and what it cost to get there."""

    step: int
    seconds: float
    """Wall time."""
    cpu_seconds: float
    """Processor time of this process, all threads together."""
    tokens: int
    flops: int
    held_out: float
    """Bits per base at mask ratio 0.15."""
    area: float
    """Area under the loss against the mask ratio; NaN where it was not measured."""


class Stopwatch:
    """Wall and processor seconds of the stretches between :meth:`resume` and :meth:`pause`."""

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0
        self._since: tuple[float, float] | None = None

    def resume(self) -> None:
        """Start, or go on."""
        self._since = time.perf_counter(), time.process_time()

    def pause(self) -> None:
        """Stop, if it runs, once the GPU has done what it was given."""
        synchronise()
        if self._since is not None:
            self.seconds += time.perf_counter() - self._since[0]
            self.cpu_seconds += time.process_time() - self._since[1]
        self._since = None


def validation_steps(total: int, number: int) -> list[int]:
    """Return after which steps to validate: before the first, and evenly on a logarithmic scale up to the last."""
    return [0, *np.unique(np.geomspace(max(total / 100, 1), total, number).round().astype(int)).tolist()]


def area_under(ratios: tuple[float, ...], losses: list[float]) -> float:
    """Return the area under straight lines through the losses over (0, 1), the outer ones prolonged to 0 and 1.

    With all ratios it bounds a masked model's bits per base from above.
    """
    x, y = np.array(ratios), np.array(losses)
    slopes = np.diff(y) / np.diff(x)
    x = np.concatenate([[0.0], x, [1.0]])
    y = np.concatenate([[y[0] - slopes[0] * x[1]], y, [y[-1] + slopes[-1] * (1 - x[-2])]])
    return float(np.trapezoid(y, x))


def follow(learner: Learner, held_out: HeldOut, number: int, flops: float) -> list[Reading]:
    """Train a model to its last step; return its ``number`` validations. A step takes ``flops`` operations."""
    due = validation_steps(learner.config.steps, number)
    with_area = due[::-1][::_AREA_EVERY]
    tokens = learner.config.batch_size * learner.config.data.window_bp
    readings: list[Reading] = []
    watch = Stopwatch()  # starts with the first step: building a model is not training

    def after_step(step: int) -> None:
        if step not in due:
            return
        watch.pause()
        ratios = CURVE if step in with_area else (RATIO,)
        losses = [learner.bits_per_base(held_out, ratio) for ratio in ratios]
        readings.append(
            Reading(
                step=step,
                seconds=round(watch.seconds, 3),
                cpu_seconds=round(watch.cpu_seconds, 3),
                tokens=step * tokens,
                flops=round(step * flops),
                held_out=round(losses[ratios.index(RATIO)], 5),
                area=round(area_under(ratios, losses), 5) if step in with_area else math.nan,
            )
        )
        watch.resume()

    learner.train(after_step)
    return readings
