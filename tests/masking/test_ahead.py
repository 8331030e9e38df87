"""What is drawn ahead of a step is what the step would draw."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dnar2mae.batch import Batch, flat_lengths, sequence_lengths
from dnar2mae.config import MaskConfig
from dnar2mae.kernels.masked_embedding import masked_embedding
from dnar2mae.kernels.visible_gather import visible_gather
from dnar2mae.masking import Masker, corrupt, draw_masks, mean_drawn_ratio
from dnar2mae.masking.draw import draw_threshold, hidden_tokens
from dnar2mae.random import Stream, draw, scale
from dnar2mae.tokenizers import KmerTokenizer
from tests.masking.test_placement import Random

LAWS = {
    "uniform": {},
    "fixed": {"law": "fixed", "ratio": 0.3},
    "choice": {"law": "choice", "ratios": (0.1, 0.4, 0.9)},
    "linear": {"law": "linear"},
}


def masker_of(tokenizer, **config):
    return Masker(MaskConfig(**config), tokenizer.vocabulary, 2**63 - 25, 50, source=Random(tokenizer, 120))


def make_batch(tokenizer, *, documents=False):
    batch = Random(tokenizer, 120).batch(np.arange(2**33, 2**33 + 6))
    if documents:
        number = torch.arange(batch.tokens.shape[1]).div(25, rounding_mode="floor").repeat(6, 1)
        number[2, 40:] = -1
        number[4] = -1
        exists = number >= 0
        tokens = torch.where(exists, batch.tokens, 0)
        batch = replace(batch, tokens=tokens, maskable=batch.maskable & exists, documents=number)
    return batch


@pytest.mark.parametrize("law", LAWS)
def test_a_shared_ratio_is_what_a_tensor_draw_gives(law):
    masker = masker_of(KmerTokenizer(), **LAWS[law])
    each = masker_of(KmerTokenizer(), **LAWS[law], per="sample")
    for step in range(50):
        low, span = torch.tensor(each.plan(step).intervals).unbind(1)
        within, which, _, _ = draw(masker.seed, Stream.RATIO, torch.tensor(step))
        chosen = scale(which, len(low))
        expected = low[chosen] + scale(within, span[chosen])
        plan = masker.plan(step)
        assert plan.shared_threshold == expected.item()
        assert draw_threshold(plan, torch.arange(3)).tolist() == [expected.item()] * 3
        assert mean_drawn_ratio(plan, range(8)) == expected.item() / 2**32


@pytest.mark.parametrize("per", ["sample", "stratified"])
def test_the_mean_of_ratios_of_samples(per):
    plan = masker_of(KmerTokenizer(), per=per, law="choice", ratios=(0.1, 0.9)).plan(0)
    drawn = draw_threshold(plan, torch.arange(40, 60)).double().mean().item() / 2**32
    assert mean_drawn_ratio(plan, range(40, 60)) == pytest.approx(drawn, rel=1e-14)


@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("per", ["batch", "sample"])
@pytest.mark.parametrize("placement", ["independent", "spans", "pmi"])
@pytest.mark.parametrize(("k", "stride"), [(1, None), (3, 1), (3, 2)])
def test_masks_and_counts_are_those_of_the_definition(k, stride, placement, per, documents):
    tokenizer = KmerTokenizer(k, stride)
    masker = masker_of(tokenizer, placement=placement, per=per, low=0.2, high=0.9)
    batch = make_batch(tokenizer, documents=documents)
    for step in range(3):
        plan = masker.plan(step)
        samples = batch.tokens, batch.maskable, batch.sample_ids
        shown, predicted = corrupt(plan, *samples)
        visible = batch.exists() & ~hidden_tokens(plan, *samples)[0]
        for objective in ("mlm", "mae"):
            drawn = draw_masks(plan, batch, objective)
            counted = draw_masks(plan, batch, objective, counts_only=True)
            assert drawn.masks.num_predicted == counted.masks.num_predicted == tuple(predicted.sum(1).tolist())
            assert torch.equal(drawn.masks.predicted, predicted)
            assert counted.masks.predicted is counted.masks.shown is counted.masks.visible is None
            assert drawn.lengths == (sequence_lengths(batch.exists(), batch.documents) if documents else None)
        assert torch.equal(draw_masks(plan, batch, "mlm").masks.shown, shown)
        assert torch.equal(drawn.masks.visible, visible)
        lengths = sequence_lengths(visible, batch.documents)
        assert drawn.masks.visible_lengths == counted.masks.visible_lengths == lengths


def test_of_tokens_that_carry_values_the_encoder_is_shown_whose_values_to_take():
    plan = masker_of(KmerTokenizer(), replace=(1.0, 0.0, 0.0)).plan(0)
    batch = make_batch(KmerTokenizer())
    masks = draw_masks(plan, replace(batch, values=torch.zeros(*batch.tokens.shape, 2)), "mlm").masks
    own = torch.arange(1, 121, dtype=torch.int32).expand(6, -1)
    assert 0 < masks.predicted.sum() < masks.predicted.numel()
    assert masks.shown.dtype == batch.tokens.dtype
    assert torch.equal(masks.shown, torch.where(masks.predicted, plan.mask_id, own))


@pytest.mark.parametrize("anchored", [(1, None), (3, 1)])
@pytest.mark.parametrize("per", ["batch", "sample"])
def test_the_kernels_find_as_many_as_were_counted(anchored, per):
    tokenizer = KmerTokenizer(*anchored)
    plan, batch = masker_of(tokenizer, per=per).plan(7), make_batch(tokenizer, documents=True)
    masks = draw_masks(plan, batch, "mae", counts_only=True).masks
    weight = torch.randn(tokenizer.vocabulary.size, 4)
    tokens, maskable, ids = batch.tokens, batch.maskable, batch.sample_ids
    _, predicted = masked_embedding(weight, tokens, maskable, ids, plan, backend="triton")
    assert tuple(predicted.sum(1).tolist()) == masks.num_predicted
    counted, read = (
        visible_gather(weight, tokens, batch.exists(), maskable, ids, plan, lengths=lengths, backend="triton")
        for lengths in (masks.num_visible, None)
    )
    assert tuple(counted.cu_seqlens.diff().tolist()) == masks.num_visible
    assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(counted, read, strict=True))


def test_a_micro_batch_keeps_its_own_masks_and_counts():
    tokenizer = KmerTokenizer(3, 1)
    plan, batch = masker_of(tokenizer).plan(1), make_batch(tokenizer, documents=True)
    for objective in ("mlm", "mae"):
        parts = draw_masks(plan, batch, objective).split(4)
        assert len(parts) == 2
        for part, rows in zip(parts, (slice(0, 4), slice(4, 6)), strict=True):
            alone = Batch(batch.tokens[rows], batch.maskable[rows], batch.weight[rows], batch.sample_ids[rows])
            alone = draw_masks(plan, replace(alone, documents=batch.documents[rows]), objective)
            assert part.lengths == alone.lengths
            for name in ("num_predicted", "visible_lengths"):
                assert getattr(part.masks, name) == getattr(alone.masks, name)
            for name in ("predicted", "shown", "visible"):
                ours, theirs = getattr(part.masks, name), getattr(alone.masks, name)
                assert ours is theirs is None or torch.equal(ours, theirs)


def test_lengths_of_sequences():
    documents = torch.tensor([[0, 0, 1, 1, -1], [3, 3, 3, 3, 3], [-1] * 5])
    chosen = torch.tensor([[1, 1, 0, 1, 0], [0, 1, 0, 1, 1], [0] * 5]).bool()
    assert sequence_lengths(chosen, documents) == ((2, 1), (3,), ())
    assert sequence_lengths(chosen, None) == ((3,), (3,), (0,))
    assert flat_lengths(((2, 1), (), (3,))) == (2, 1, 3)
