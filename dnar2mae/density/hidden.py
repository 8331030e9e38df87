"""Samples of which chosen tokens are hidden, and the orders in which their tokens become known."""

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dnar2mae.batch import Batch, DrawnMasks, sequence_lengths
from dnar2mae.config import MaskConfig
from dnar2mae.masking import Masker, MaskPlan
from dnar2mae.models import MaskedModel
from dnar2mae.random import Stream, draw
from dnar2mae.tokenizers import Vocabulary

_WIDE = 4  # a span of more than a quarter of the sequence depends on most of it
Order = Literal["left-to-right", "random"]


def ranks(order: Order, seed: int, numbers: Int[Tensor, " B"], chosen: Bool[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """Return the place of each chosen token in the order of its row, from 0 on; T for the others.

    Parameters
    ----------
    order
        From left to right, or a permutation drawn for each row.
    seed
        Key of the draws.
    numbers
        What a row's permutation is drawn by: rows of one number have the same.
    chosen
        Tokens to put in order.
    """
    length = chosen.shape[1]
    place = torch.arange(length, device=chosen.device).expand(chosen.shape)
    if order == "random":
        place = draw(seed, Stream.ORDER, numbers[:, None], place)[0]
    # those that are not chosen come last; stable, so that ties are the same on every machine
    by_place = torch.where(chosen, place, 2**32).argsort(dim=1, stable=True)
    rank = torch.empty_like(by_place).scatter_(1, by_place, torch.arange(length, device=chosen.device).expand_as(place))
    return torch.where(chosen, rank, length)


def evaluation_plan(vocabulary: Vocabulary) -> MaskPlan:
    """Return a plan that masks each token by itself, from which evaluation makes its own."""
    return Masker(MaskConfig(), vocabulary, 0, 1).plan(0)


def hide(model: MaskedModel, batch: Batch, hidden: Bool[Tensor, "B T"], predicted: Bool[Tensor, "B T"]) -> Batch:
    """Return a batch whose masks are given: which tokens are hidden, and which of these are to be predicted."""
    visible = visible_lengths = None
    if model.decoder is not None:
        visible = batch.exists() & ~hidden
        visible_lengths = sequence_lengths(visible, batch.documents)
    masks = DrawnMasks(
        num_predicted=tuple(predicted.sum(1).tolist()),
        visible_lengths=visible_lengths,
        predicted=predicted,
        shown=torch.where(hidden, torch.full_like(batch.tokens, model.vocabulary.mask_id), batch.tokens),
        visible=visible,
    )
    return replace(batch, masks=masks)


def encode_hidden(model: MaskedModel, plan: MaskPlan, batch: Batch, index: Int[Tensor, " M"]) -> Float[Tensor, "M D"]:
    """Return the vectors of the tokens at ``index`` of the flattened batch, whose masks :func:`hide` has given.

    Where tokens lie near each other only what they depend on is computed, if the encoder can.
    """
    length = batch.tokens.shape[1]
    row, position = index // length, index % length
    start, end = int(position.min()), int(position.max()) + 1
    if model.decoder is not None or batch.documents is not None or _WIDE * (end - start) > length:
        return model.decoded(plan, batch, index)[0]
    assert batch.masks is not None
    assert batch.masks.shown is not None
    return model.encoder.encode_span(model.embedder(batch.masks.shown), start, end)[row, position - start]
