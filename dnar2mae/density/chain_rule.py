r"""Exact likelihood of samples by the chain rule, one token at a time in a stated order.

.. math:: -\log p(x) = -\sum_n \log p(x_{\sigma(n)} \mid x_{\sigma(1)}, \ldots, x_{\sigma(n-1)})

for an order :math:`\sigma` of the maskable tokens: at each step all tokens still to come show [MASK]. Tokens that are
not maskable (unknown bases) are given. A masked model has no single density: other orders have other values, whose mean
over random orders is what :mod:`dnar2mae.training.bound` estimates.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float64, Int
from torch import Tensor

from dnar2mae.batch import Batch, Source
from dnar2mae.density.hidden import Order, evaluation_plan, hide, ranks
from dnar2mae.density.strands import losses_at
from dnar2mae.modalities.contract import Copies
from dnar2mae.models import MaskedModel
from dnar2mae.models.hidden_states import tokens_at_once

SHARED = 16
"""Samples that share a random order, so that a step predicts the same position in all of them."""


@torch.inference_mode()
def token_bits(
    model: MaskedModel,
    source: Source,
    sample_ids: Int[np.ndarray, " S"],
    order: Order,
    *,
    seed: int = 0,
    copies: Copies | None = None,
    advance: Callable[[int], object] = lambda number: None,
) -> list[Float64[np.ndarray, " _"]]:
    """Return the bits of every token of samples, NaN for those that are not maskable; they sum to the exact value.

    Parameters
    ----------
    model
        In evaluation mode, with a head that has probabilities of tokens.
    source
        Has the samples; those of neighbouring ids had best be of one length.
    sample_ids
        Which samples, in this order; 16 that follow one another share a random order.
    order
        In which tokens become known.
    seed
        Of random orders.
    copies
        What the training data hold of the samples.
    advance
        Called with the number of tokens done at each step.
    """
    first = source.batch(sample_ids[:1]).tokens
    device = next(model.parameters()).device
    size = SHARED if order == "random" else max(tokens_at_once(device) // first.shape[1], SHARED)
    bits: list[np.ndarray] = []
    for start in range(0, len(sample_ids), size):
        batch = source.batch(sample_ids[start : start + size]).to(device)
        group = torch.full_like(batch.sample_ids, start // SHARED)
        rank = ranks(order, seed, group, batch.maskable)
        bits += list(_bits(model, batch, rank, copies, advance).cpu().numpy())
    return bits


def _bits(
    model: MaskedModel,
    batch: Batch,
    rank: Int[Tensor, "B T"],
    copies: Copies | None,
    advance: Callable[[int], object],
) -> Tensor:
    plan = evaluation_plan(model.vocabulary)
    bits = torch.full(rank.shape, torch.nan, dtype=torch.float64, device=rank.device)
    for step in range(int(batch.maskable.sum(1).max())):
        predicted, hidden = rank == step, batch.maskable & (rank >= step)
        masked = hide(model, batch, hidden, predicted)
        index = predicted.flatten().nonzero().squeeze(1)
        losses = losses_at(model, plan, masked, index)
        if copies is not None:
            losses = copies(losses, index, batch, hidden)
        bits.view(-1)[index] = losses.double() / np.log(2)
        advance(len(index))
    return bits
