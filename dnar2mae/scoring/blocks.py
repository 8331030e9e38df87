"""A mean over held-out samples and its standard error, from sums over blocks of neighbouring samples."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

MAX_BLOCKS = 32
"""Most blocks that samples are divided into: few enough that each is long, enough to show how they vary."""


class Estimate(NamedTuple):
    """A value with its standard error."""

    value: float
    standard_error: float


def ratio_of_sums(sums: Float[np.ndarray, " S"], units: Float[np.ndarray, " S"]) -> Estimate:
    r"""Return the ratio of two sums, with the standard error that differences between blocks of samples show.

    .. math::
        r = \frac{\sum_b s_b}{\sum_b u_b}, \qquad
        \mathrm{se}^2 = \frac{B}{B - 1} \frac{\sum_b (s_b - r u_b)^2}{(\sum_b u_b)^2}

    over B blocks: at most 32, each of samples that follow one another and so may be alike.

    Parameters
    ----------
    sums, units
        Of each sample, in the order in which they lie in the data. For a paired difference, ``sums`` are differences.

    Returns
    -------
    Estimate
        NaN where nothing is summed; the standard error is NaN of a single block.
    """
    blocks = min(MAX_BLOCKS, len(sums))
    starts = np.arange(blocks) * len(sums) // blocks
    # reduceat sums from each start to the next
    per_block, weights = np.add.reduceat(sums, starts), np.add.reduceat(units, starts)
    total = weights.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        value = per_block.sum() / total
        squares = ((per_block - value * weights) ** 2).sum()
        error = np.sqrt(np.float64(blocks) / (blocks - 1) * squares) / total
    return Estimate(float(value), float(error))
