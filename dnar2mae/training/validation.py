"""Held-out loss under fixed masks, so that runs with different mask laws can be compared.

Masks are drawn from a fixed seed: they depend on the sample and the ratio, never on the run's mask law or seed, and
every masked token shows [MASK].
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float64, Int

from dnar2mae.batch import FiniteSource
from dnar2mae.distributed import ALONE, Ranks
from dnar2mae.masking import MaskPlan
from dnar2mae.masking.draw import hidden_tokens
from dnar2mae.modalities.contract import Copies
from dnar2mae.models import MaskedModel

CURVE = (0.05, 0.15, 0.3, 0.5, 0.7)
"""Mask ratios of the loss-against-ratio curve."""
_BATCH_TOKENS = 8192  # encoded at once


@torch.no_grad()
def masked_sums(
    model: MaskedModel,
    source: FiniteSource,
    plan: MaskPlan,
    sample_ids: Int[np.ndarray, " S"],
    *,
    ranks: Ranks = ALONE,
    check: Callable[[], object] = lambda: None,
    copies: Copies | None = None,
) -> Float64[np.ndarray, "6 S"]:
    """Return sums over each sample's tokens: losses of the predicted ones, their units, both numbers.

    Parameters
    ----------
    model
        The model; its training mode does not matter (there is no dropout). It computes as the caller's autocast says.
    source
        Held-out samples.
    plan
        The masks.
    sample_ids
        Which samples.
    ranks
        The processes that the samples are divided among.
    check
        Called before every batch; may raise, on all ranks at once.
    copies
        What the training data hold of the samples.

    Returns
    -------
    array
        Losses of the predicted tokens and the units that these stand for (``Batch.units``, else one each); the numbers
        of predicted and of maskable tokens; the units of the maskable ones; the losses with ``copies``, without any the
        first row again. The same on all ranks.
    """
    device = next(model.parameters()).device
    sums = torch.zeros(6, len(sample_ids), dtype=torch.float64, device=device)
    at = ranks.rank * _share(sample_ids, ranks)
    for ids, counts in _batches(source, sample_ids, ranks):
        check()
        batch = model.with_masks(plan, source.batch(ids)).to(device)  # sizes are counted before the copy
        losses, index = model.masked_losses(plan, batch)
        if counts:
            of_tokens = torch.ones_like(batch.weight) if batch.units is None else batch.units
            units = of_tokens.flatten()[index]
            here = sums[:, at : at + len(ids)]
            predicted = torch.stack([losses, units, torch.ones_like(losses)]).double()
            here[:3].index_add_(1, index // batch.tokens.shape[1], predicted)
            here[3], here[4] = batch.maskable.sum(1), (of_tokens * batch.maskable).double().sum(1)
            here[5] = here[0]
            if copies is not None:
                hidden, _ = hidden_tokens(plan, batch.tokens, batch.maskable, batch.sample_ids)
                mixed = copies(losses, index, batch, hidden)
                here[5] = torch.zeros_like(here[0]).index_add_(0, index // batch.tokens.shape[1], mixed.double())
            at += len(ids)
    ranks.all_sum_(sums)
    return sums.cpu().numpy()


def _share(ids: np.ndarray, ranks: Ranks) -> int:
    """Return the number of samples of a rank; the last ranks may have fewer."""
    return -(-len(ids) // ranks.size)


def _batches(source: FiniteSource, ids: np.ndarray, ranks: Ranks) -> Iterator[tuple[np.ndarray, bool]]:
    """Yield this rank's samples by batches, and whether they count.

    All ranks get the same number of batches, since each forward pass of a sharded model and each ``check`` is a
    collective. A rank that has no sample left computes the first one again, alone: a source may take each sample at
    most once in a batch.
    """
    share = _share(ids, ranks)
    mine = ids[ranks.rank * share : (ranks.rank + 1) * share]
    size = max(_BATCH_TOKENS // source.batch(ids[:1]).tokens.shape[1], 1)
    for start in range(0, share, size):
        part = mine[start : start + size]
        yield (part, True) if len(part) else (ids[:1], False)
