"""Where the risk peaks, and the laws that make it smallest."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dnar2mae.errors import ConfigError
from dnar2mae.theory.equivalents import risk_equivalent
from dnar2mae.theory.laws import MaskLaw, fixed, uniform
from dnar2mae.theory.rows import Masking, group_rows
from dnar2mae.theory.task import Task

HIGHEST_RATIO = 0.98
"""Largest ratio that searches consider."""
LOWEST_RATIO = 1e-4
"""Smallest ratio that searches consider where ratio 0 is not allowed."""
MIN_WIDTH = 0.1
"""Narrowest uniform law that searches consider: a narrower one is a fixed ratio for every purpose."""
_ZOOMS = 4


@dataclass(frozen=True)
class Optimum:
    """A law and its excess risk."""

    law: MaskLaw
    excess: float


def interpolation_peak(law: MaskLaw, masking: Masking | None = None) -> float:
    """Aspect ratio d / n at which the ridgeless risk diverges: the number of rows of a sample.

    M for a loss on all rows, at every mask ratio (1 without masks, whose rows are copies); M E[p] for a loss
    on masked entries; infinite (no peak) with the full expectation over masks or a ridge.

    Raises
    ------
    ConfigError
        If the law does not suit the masking.
    """
    masking = masking or Masking()
    ((_, rows),) = group_rows([law], masking)
    return float("inf") if masking.ridge is not None else float(rows.per_sample[0])


def ratio_grid(size: int, lowest: float = 0.0) -> Float[np.ndarray, " L"]:
    """Space fixed ratios from ``lowest`` to 0.98, densest at the low end, where optima are sharpest."""
    return lowest + (HIGHEST_RATIO - lowest) * np.linspace(0, 1, size) ** 2


def range_grid(step: float = 0.05, lowest: float = 0.0) -> list[MaskLaw]:
    """Uniform laws at least 0.1 wide on a grid of their ends."""
    ends = np.append(np.arange(lowest, HIGHEST_RATIO - 1e-9, step), HIGHEST_RATIO)
    return [uniform(a, b, 12) for a in ends.tolist() for b in ends.tolist() if b - a > MIN_WIDTH - 1e-9]


def lowest_allowed(task: Task, masking: Masking) -> float:
    """0, or the smallest ratio of a search where 0 is not allowed."""
    return LOWEST_RATIO if task.singular or masking.loss != "rows" else 0.0


def best_fixed(task: Task, aspect: float, masking: Masking | None = None) -> Optimum:
    """Find the fixed ratio with the smallest excess risk, to about 1e-5 in the ratio.

    The risk can have two minima (on either side of the interpolation peak); the grid has 400 ratios, and the
    neighbourhood of its minimum is searched again, four times.

    Raises
    ------
    ConfigError
        If the aspect ratio is not positive.
    """
    masking = masking or Masking()
    lowest = lowest_allowed(task, masking)
    grid = ratio_grid(400, lowest)
    for _ in range(_ZOOMS):
        excess = _excess(task, [fixed(p) for p in grid.tolist()], aspect, masking)
        best = int(excess.argmin())
        law, value = fixed(float(grid[best])), float(excess[best])
        grid = np.linspace(grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)], 9)
    return Optimum(law, value)


def best_uniform(task: Task, aspect: float, masking: Masking | None = None, *, min_width: float = MIN_WIDTH) -> Optimum:
    """Find the uniform law with the smallest excess risk, to about 0.002 in its ends.

    Parameters
    ----------
    task, aspect, masking
        As in :func:`dnar2mae.theory.equivalents.risk_equivalent`.
    min_width
        Narrowest interval, in (0, 0.9].

    Raises
    ------
    ConfigError
        If the width is out of range or the aspect ratio is not positive.
    """
    if not 0 < min_width <= 0.9:
        raise ConfigError(f"--min-width must be in (0, 0.9], got {min_width:g}")
    masking = masking or Masking()
    lowest = lowest_allowed(task, masking)
    step = 0.05
    lows = highs = np.append(np.arange(lowest, HIGHEST_RATIO, step), HIGHEST_RATIO)
    for _ in range(_ZOOMS):
        ends = [(a, b) for a in lows.tolist() for b in highs.tolist() if b - a > min_width - 1e-9]
        laws = [uniform(a, b) for a, b in ends]
        excess = _excess(task, laws, aspect, masking)
        best = int(excess.argmin())
        step /= 3
        lows, highs = (np.clip(end + step * np.arange(-3, 4), lowest, HIGHEST_RATIO) for end in ends[best])
    return Optimum(laws[best], float(excess[best]))


def _excess(task: Task, laws: list[MaskLaw], aspect: float, masking: Masking) -> Float[np.ndarray, " L"]:
    return risk_equivalent(task, laws, aspect, masking).excess[:, 0]
