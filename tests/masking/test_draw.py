from dataclasses import replace

import numpy as np
import pytest
import torch

from dnar2mae.config import MaskConfig
from dnar2mae.masking import Masker, corrupt
from dnar2mae.random import MASK32, Stream, draw, scale
from dnar2mae.tokenizers import KmerTokenizer


def plan_for(tokenizer, **config):
    return Masker(MaskConfig(**config), tokenizer.vocabulary, seed=7, total_steps=10).plan(3)


def random_tokens(tokenizer, batch, length_bp, n_share=0.0):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (batch, length_bp)).astype(np.uint8)
    codes[rng.random(codes.shape) < n_share] = 4
    tokens = torch.from_numpy(tokenizer.encode(codes))
    return tokens, tokens >= tokenizer.vocabulary.first_real, torch.arange(batch)


@pytest.mark.parametrize("per", ["batch", "sample", "stratified"])
def test_a_plan_holds_what_the_settings_ask_for(per):
    vocabulary = KmerTokenizer(3, 1).vocabulary
    config = MaskConfig(low=0.25, high=0.75, per=per, replace=(0.5, 0.25, 0.25))
    masker = Masker(config, vocabulary, 2**40, 10)
    plan = masker.plan(3)
    assert (plan.seed, plan.mask_below, plan.random_below) == (2**40, 2**31, 3 * 2**30)
    assert (plan.mask_id, plan.real_ids, plan.anchor_stride, plan.placement) == (1, (4, 64), 3, None)
    ((low, span),) = plan.intervals
    assert span == (0 if per == "batch" else 2**31)
    assert low == 2**30 or (per == "batch" and 2**30 < low < 3 * 2**30)
    assert (plan.rotation is None) == (per != "stratified")
    assert len({masker.plan(step).rotation for step in range(5)}) == (5 if per == "stratified" else 1)
    every = Masker(replace(config, replace=(1.0, 0.0, 0.0)), vocabulary, 0, 10).plan(0)
    assert every.mask_below == every.random_below == 2**32  # above the largest word


def test_a_token_is_masked_and_replaced_by_words_below_the_thresholds():
    tokenizer = KmerTokenizer()
    plan = replace(plan_for(tokenizer), intervals=((MASK32, 0),))
    tokens, ids = torch.full((1, 40), 4), torch.tensor([2**35])
    choose, kind, pick, _ = (
        word.squeeze(0).tolist() for word in draw(plan.seed, Stream.MASK, ids[:, None], torch.arange(40))
    )
    at = next(place for place in range(40) if scale(pick[place], 4) == 2)  # a G would replace this A

    def shown(**settings):
        inputs, predicted = corrupt(replace(plan, **settings), tokens, tokens > 0, ids)
        return inputs[0, at].item(), predicted[0, at].item()

    below, above = ({"intervals": ((choose[at] + more, 0),), "mask_below": 2**32} for more in (0, 1))
    assert (shown(**below), shown(**above)) == ((4, False), (1, True))
    below, above = ({"mask_below": kind[at] + more, "random_below": 2**32} for more in (0, 1))
    assert (shown(**below), shown(**above)) == ((6, True), (1, True))
    below, above = ({"mask_below": 0, "random_below": kind[at] + more} for more in (0, 1))
    assert (shown(**below), shown(**above)) == ((4, True), (6, True))


def test_share_masked_and_replaced_over_a_million_tokens():
    tokenizer = KmerTokenizer()
    tokens, maskable, ids = random_tokens(tokenizer, 2048, 512)
    inputs, predicted = corrupt(plan_for(tokenizer, law="fixed", ratio=0.3), tokens, maskable, ids)
    count = predicted.sum().item()
    assert count / tokens.numel() == pytest.approx(0.3, abs=5 * (0.21 / tokens.numel()) ** 0.5)
    assert inputs.dtype == tokens.dtype
    shown = inputs[predicted]
    assert (shown == 1).sum().item() / count == pytest.approx(0.8, abs=0.004)
    changed = (shown != 1) & (shown != tokens[predicted])
    assert changed.sum().item() / count == pytest.approx(0.1 * 3 / 4, abs=0.004)  # a quarter of random ones hit
    assert torch.equal(inputs[~predicted], tokens[~predicted])
    real = torch.bincount(shown[shown != 1], minlength=8)
    assert real[:4].sum() == 0


def test_masks_of_neighbours_are_independent():
    tokenizer = KmerTokenizer()
    tokens, maskable, ids = random_tokens(tokenizer, 2000, 500)
    _, predicted = corrupt(plan_for(tokenizer, law="fixed", ratio=0.2), tokens, maskable, ids)
    mask = predicted.double()
    for shift in (1, 2, 7):
        assert (mask[:, shift:] * mask[:, :-shift]).mean().item() == pytest.approx(0.04, abs=2e-3)
    assert (mask[1:] * mask[:-1]).mean().item() == pytest.approx(0.04, abs=2e-3)


@pytest.mark.parametrize(("k", "stride"), [(k, s) for k in range(1, 9) for s in range(1, k + 1)])
def test_no_visible_token_contains_a_masked_base(k, stride):
    tokenizer = KmerTokenizer(k, stride)
    tokens, maskable, ids = random_tokens(tokenizer, 64, 203, n_share=0.01)
    plan = plan_for(tokenizer, low=0.1, high=0.9, per="sample", replace=(1.0, 0.0, 0.0))
    inputs, predicted = corrupt(plan, tokens, maskable, ids)
    assert predicted.any()
    length = (tokens.shape[1] - 1) * stride + k
    hidden = torch.zeros(len(ids), length, dtype=torch.bool)
    seen = torch.zeros_like(hidden)
    visible = inputs >= tokenizer.vocabulary.first_real
    for t in range(tokens.shape[1]):
        hidden[:, t * stride : t * stride + k] |= predicted[:, t, None]
        seen[:, t * stride : t * stride + k] |= visible[:, t, None]
    assert not (hidden & seen).any()
    times = torch.zeros(len(ids), length, dtype=torch.int64)
    for t in range(tokens.shape[1]):
        times[:, t * stride : t * stride + k] += predicted[:, t, None]
    assert times.max() == 1  # each hidden base is predicted once
    assert not predicted[~maskable].any()
    touched = hidden.unfold(1, k, stride).any(2)  # tokens with a hidden base: all of them are hidden, and no other
    assert torch.equal(inputs, torch.where(touched & maskable, plan.mask_id, tokens))


def test_random_and_kept_spans_never_leave_a_hidden_base_in_sight():
    tokenizer = KmerTokenizer(6, 1)
    tokens, maskable, ids = random_tokens(tokenizer, 256, 256)
    plan = plan_for(tokenizer, law="fixed", ratio=0.4, replace=(0.4, 0.3, 0.3))
    inputs, predicted = corrupt(plan, tokens, maskable, ids)
    hidden = predicted & (inputs == plan.mask_id)
    for shift in range(-5, 6):
        near = torch.roll(hidden, shift, 1)
        edge = near[:, :shift] if shift > 0 else near[:, shift:]
        edge[:] = False
        assert (inputs[near] == plan.mask_id).all()


@pytest.mark.parametrize(("k", "stride"), [(3, 1), (6, 2), (6, 4)])
def test_every_token_is_an_anchor_somewhere(k, stride):
    tokenizer = KmerTokenizer(k, stride)
    tokens, maskable, ids = random_tokens(tokenizer, 400, 120)
    _, predicted = corrupt(plan_for(tokenizer, law="fixed", ratio=0.5), tokens, maskable, ids)
    assert predicted.any(0).all()
    expected = 0.5 / tokenizer.vocabulary.anchor_stride
    assert predicted.double().mean().item() == pytest.approx(expected, rel=0.1)


def test_draws_do_not_depend_on_the_batch():
    tokenizer = KmerTokenizer(4, 2)
    tokens, maskable, ids = random_tokens(tokenizer, 12, 100)
    plan = plan_for(tokenizer, per="sample")
    whole = corrupt(plan, tokens, maskable, ids)
    order = torch.tensor([7, 2, 11, 0])
    part = corrupt(plan, tokens[order], maskable[order], ids[order])
    assert all(torch.equal(w[order], p) for w, p in zip(whole, part, strict=True))
    other = corrupt(replace(plan, seed=8), tokens, maskable, ids)
    assert not torch.equal(whole[1], other[1])


def test_evaluation_plan_masks_everything_it_predicts():
    tokenizer = KmerTokenizer()
    tokens, maskable, ids = random_tokens(tokenizer, 64, 500)
    plan = plan_for(tokenizer).at_ratio(0.15, seed=99)
    inputs, predicted = corrupt(plan, tokens, maskable, ids)
    assert (inputs[predicted] == 1).all()
    assert predicted.double().mean().item() == pytest.approx(0.15, abs=0.01)
