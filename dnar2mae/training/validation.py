"""Held-out loss under fixed masks, so that runs with different mask laws can be compared.

Masks are drawn from a seed of their own: they depend on the window and the ratio, never on the run's law or seed, and
every masked token shows [MASK].
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch

from dnar2mae.batch import FiniteSource, evenly_spaced
from dnar2mae.distributed import ALONE, Ranks
from dnar2mae.masking import MaskPlan, fixed_masks
from dnar2mae.masking.draw import RATIO
from dnar2mae.models import MaskedModel

CURVE = (0.05, 0.15, 0.3, 0.5, 0.7)
"""Mask ratios of the loss-against-ratio curve."""
_BATCH_TOKENS = 8192  # encoded at once


@torch.no_grad()
def masked_loss(  # noqa: PLR0913
    model: MaskedModel,
    source: FiniteSource,
    plan: MaskPlan,
    *,
    ratio: float = RATIO,
    num_samples: int = 256,
    autocast: torch.dtype | None = None,
    ranks: Ranks = ALONE,
    check: Callable[[], object] = lambda: None,
) -> float:
    """Mean loss at one mask ratio, per unit of the predicted tokens.

    Parameters
    ----------
    model
        The model; its training mode does not matter (there is no dropout).
    source
        Held-out samples.
    plan
        Any plan of the run: supplies token ids and anchor distance.
    ratio
        Mask ratio, in (0, 1).
    num_samples
        Evenly spaced samples to use, at most.
    autocast
        Type of matrix products; by default that of the weights.
    ranks
        Each takes its share of the samples.
    check
        Called before every batch; may raise, on all ranks at once.

    Returns
    -------
    float
        Summed loss over summed units (of the tokens' ``Batch.units``, else one each); NaN if no token was masked.
    """
    device = next(model.parameters()).device
    fixed = fixed_masks(plan, ratio)
    total, count = torch.zeros(2, dtype=torch.float64, device=device)
    shares, counts = _shares(evenly_spaced(len(source), num_samples), ranks)
    for ids, real in _batches(source, shares, counts):
        check()
        batch = model.with_masks(fixed, source.batch(ids)).to(device)  # sizes are counted before the copy
        with torch.autocast(device.type, autocast, enabled=autocast is not None):
            losses, index = model.masked_losses(fixed, batch)
        taken = index < real * batch.tokens.shape[1]
        total += (losses * taken).double().sum()
        count += (taken if batch.units is None else taken * batch.units.flatten()[index]).double().sum()
    ranks.all_sum_(total, count)
    return (total / count).item()


def _shares(ids: np.ndarray, ranks: Ranks) -> tuple[np.ndarray, int]:
    """Samples of this rank, and how many of them count: all ranks get the same number, the last ones repeats."""
    size = -(-len(ids) // ranks.size)
    mine = ids[ranks.rank * size : (ranks.rank + 1) * size]
    return np.concatenate([mine, np.full(size - len(mine), ids[0])]), len(mine)


def _batches(source: FiniteSource, ids: np.ndarray, num_real: int) -> Iterable[tuple[np.ndarray, int]]:
    """Samples encoded at once, and how many of them count."""
    size = max(_BATCH_TOKENS // source.batch(ids[:1]).tokens.shape[1], 1)
    return ((ids[start : start + size], max(num_real - start, 0)) for start in range(0, len(ids), size))
