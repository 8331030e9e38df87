"""Held-out loss under fixed masks, so that runs with different mask laws can be compared.

Masks are drawn from a seed of their own: they depend on the window and the ratio, never on the run's law or seed, and
every masked token shows [MASK].
"""

from collections.abc import Callable, Iterator

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
    for ids, counts in _batches(source, evenly_spaced(len(source), num_samples), ranks):
        check()
        batch = source.batch(ids).to(device)
        with torch.autocast(device.type, autocast, enabled=autocast is not None):
            losses, index = model.masked_losses(fixed, batch)
        taken = (index >= 0) & counts
        total += (losses * taken).double().sum()
        count += (taken if batch.units is None else taken * batch.units.flatten()[index]).double().sum()
    ranks.all_sum_(total, count)
    return (total / count).item()


def _batches(source: FiniteSource, ids: np.ndarray, ranks: Ranks) -> Iterator[tuple[np.ndarray, bool]]:
    """Yield this rank's samples, some at once, and whether they count.

    All ranks get the same number of batches, since each forward pass of a sharded model and each ``check`` is a
    collective. A rank that has no sample left computes the first one again, alone: a source may want each sample at
    most once in a batch.
    """
    share = -(-len(ids) // ranks.size)
    mine = ids[ranks.rank * share : (ranks.rank + 1) * share]
    size = max(_BATCH_TOKENS // source.batch(ids[:1]).tokens.shape[1], 1)
    for start in range(0, share, size):
        part = mine[start : start + size]
        yield (part, True) if len(part) else (ids[:1], False)
