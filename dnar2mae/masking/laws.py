"""Ratio laws: from which distribution a step draws its mask ratio.

Every law is, at each step, a uniform choice among a few intervals of ratios: ``uniform`` is one interval,
``fixed`` and the schedules are one interval of zero length, ``choice`` is several of zero length. That one form is
all that the draw (and its GPU kernel) needs to know.
"""

import math
from collections.abc import Callable

from dnar2mae.config import MaskConfig
from dnar2mae.random import threshold

Intervals = tuple[tuple[int, int], ...]
"""(low, span) of each interval, in units of 2**-32."""

RatioLaw = Callable[[int, int], Intervals]
"""A law maps (step, total steps) to the intervals of mask ratio from which that step draws."""


def interval(low: float, high: float) -> tuple[int, int]:
    """One interval of ratios in units of 2**-32, never 0 and never 1."""
    first, last = max(threshold(low), 1), threshold(high)
    return first, max(last - first, 0)


def ratio_law(config: MaskConfig) -> RatioLaw:
    """Build the law that a configuration names.

    Parameters
    ----------
    config
        ``law`` and the numbers it uses; see :class:`dnar2mae.config.MaskConfig`.

    Returns
    -------
    RatioLaw
        A pure function of (step, total steps).

    References
    ----------
    .. [1] Dong, Wang, Kluger, "R2MAE: randomly random mask autoencoding", arXiv 2509.21650 (``uniform``).
    """
    low, high = config.low, config.high
    match config.law:
        case "uniform":
            return lambda step, total: (interval(low, high),)
        case "fixed":
            return lambda step, total: (interval(config.ratio, config.ratio),)
        case "choice":
            return lambda step, total: tuple(interval(r, r) for r in config.ratios)
        case "linear":
            return lambda step, total: _schedule(low + (high - low) * _progress(step, total))
        case "cosine":
            return lambda step, total: _schedule(
                high + (low - high) * (1 + math.cos(math.pi * _progress(step, total))) / 2
            )
    raise AssertionError(f"MaskConfig let the unknown law {config.law!r} through")


def mean_ratio(law: RatioLaw, total_steps: int) -> float:
    """Mask ratio that a law draws on average over a run's steps."""
    drawn = [law(step, total_steps) for step in range(total_steps)]
    return sum(sum(low + span / 2 for low, span in step) / len(step) for step in drawn) / total_steps / 2**32


def _progress(step: int, total: int) -> float:
    return min(step / max(total - 1, 1), 1.0)


def _schedule(ratio: float) -> Intervals:
    return (interval(ratio, ratio),)
