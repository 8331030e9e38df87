"""A model of DNA that reads both strands: the mean of its probabilities on one and on the other."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dnar2mae.batch import Batch
from dnar2mae.density.hidden import encode_hidden
from dnar2mae.masking import MaskPlan, draw_masks
from dnar2mae.models import MaskedModel
from dnar2mae.tokenizers import Vocabulary


class BothStrands(MaskedModel):
    """A model of single bases whose probability of a base is the mean of those that it gives on the two strands.

    Both see the same bases, masked and visible. The mean of two distributions is one, so bounds and exact values hold
    for it as for the model itself.

    Parameters
    ----------
    model
        The model; the parts are shared, not copied.
    """

    def __init__(self, model: MaskedModel) -> None:
        nn.Module.__init__(self)
        self.config, self.layout = model.config, model.layout
        self.embedder, self.head = model.embedder, model.head
        self.encoder, self.decoder, self.symmetry = model.encoder, model.decoder, None

    def with_masks(self, plan: MaskPlan, batch: Batch) -> Batch:
        """Return a batch with its masks, all of them drawn here: no kernel could mirror those that it draws itself."""
        return batch if batch.masks is not None else draw_masks(plan, batch, self.config.objective)

    def masked_losses(self, plan: MaskPlan, batch: Batch) -> tuple[Float[Tensor, " M"], Int[Tensor, " M"]]:
        """Return the losses of the masked bases, in nats, and their positions in ``tokens.flatten()``."""
        batch = self.with_masks(plan, batch)
        assert batch.masks is not None
        assert batch.masks.predicted is not None
        index = batch.masks.predicted.flatten().nonzero().squeeze(1)
        if not len(index):  # short windows at a low ratio
            return torch.zeros(0, device=index.device), index
        return losses_at(self, plan, batch, index), index


def losses_at(model: MaskedModel, plan: MaskPlan, batch: Batch, index: Int[Tensor, " M"]) -> Float[Tensor, " M"]:
    """Return the loss of the tokens at ``index`` of the flattened batch, whose masks are given, in nats."""
    hidden = encode_hidden(model, plan, batch, index)
    if not isinstance(model, BothStrands):
        return model.head.losses(hidden, batch, index, model.embedder)  # type: ignore[operator]
    there = encode_hidden(model, plan, *_mirrored(model.vocabulary, batch, index))
    real, first = model.vocabulary.real, model.vocabulary.first_real
    # complements are in opposite order: A C G T, T G C A
    forward, reverse = (model.logits(x)[:, real].log_softmax(-1) for x in (hidden, there))
    mean = torch.logaddexp(forward, reverse.flip(-1)) - math.log(2)
    return -mean.gather(1, batch.tokens.flatten()[index, None].long() - first).squeeze(1)


def _mirrored(vocabulary: Vocabulary, batch: Batch, index: Int[Tensor, " M"]) -> tuple[Batch, Int[Tensor, " M"]]:
    """Return a batch of single bases, and positions in it, as the other strand has them; padding stays at the end."""
    length = batch.exists().sum(1, keepdim=True)
    place = torch.arange(batch.tokens.shape[1], device=length.device).expand(batch.tokens.shape)
    source = torch.where(place < length, length - 1 - place, place)

    def flipped(part: Tensor | None) -> Tensor | None:
        return None if part is None else part.gather(1, source)

    def complement(ids: Tensor | None) -> Tensor | None:
        if ids is None:
            return None
        last = vocabulary.first_real + vocabulary.num_real - 1
        real = (ids >= vocabulary.first_real) & (ids <= last)
        return torch.where(real, vocabulary.first_real + last - ids, ids)

    masks = batch.masks
    assert masks is not None
    masks = replace(
        masks,
        predicted=flipped(masks.predicted),
        shown=complement(flipped(masks.shown)),
        visible=flipped(masks.visible),
    )
    tokens, maskable = complement(flipped(batch.tokens)), flipped(batch.maskable)
    assert tokens is not None
    assert maskable is not None
    row, at = index // batch.tokens.shape[1], index % batch.tokens.shape[1]
    return replace(batch, tokens=tokens, maskable=maskable, masks=masks), row * batch.tokens.shape[1] + source[row, at]
