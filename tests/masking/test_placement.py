from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from dnar2mae.batch import Batch
from dnar2mae.config import MaskConfig, PretrainConfig
from dnar2mae.errors import ConfigError
from dnar2mae.kernels.backend import use_triton
from dnar2mae.masking import Masker, corrupt, draw_ratio, fixed_masks
from dnar2mae.masking.draw import hidden_tokens
from dnar2mae.masking.placement import Spans
from dnar2mae.masking.words import npmi
from dnar2mae.random import Stream, draw, threshold
from dnar2mae.tokenizers import KmerTokenizer, Vocabulary


@cache
def random_codes(length_bp, motif):
    """512 samples of random bases in which a motif is planted twice, and a few unknown ones."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (512, length_bp)).astype(np.uint8)
    for row, starts in zip(codes, rng.integers(0, length_bp - len(motif), (512, 2)), strict=True):
        for start in starts:
            row[start : start + len(motif)] = ["ACGT".index(base) for base in motif]
    codes[rng.random(codes.shape) < 0.01] = 4
    return codes


class Random:
    """These samples over and over, as many as are asked for."""

    def __init__(self, tokenizer, length_bp, motif="GATTACA"):
        self.tokenizer = tokenizer
        self.tokens = torch.from_numpy(tokenizer.encode(random_codes(length_bp, motif)))

    def batch(self, ids):
        tokens = self.tokens[ids % len(self.tokens)]
        maskable = tokens >= self.tokenizer.vocabulary.first_real
        return Batch(tokens, maskable, torch.ones(tokens.shape), torch.from_numpy(ids))


def setting(k=1, stride=None, length_bp=200, **config):
    tokenizer = KmerTokenizer(k, stride)
    source = Random(tokenizer, length_bp)
    masker = Masker(MaskConfig(**config), tokenizer.vocabulary, seed=7, total_steps=10, source=source)
    return masker.plan(3), source


def run_lengths(mask):
    """Lengths of the runs of masked tokens in each row."""
    edges = np.diff(np.pad(mask.numpy().astype(int), ((0, 0), (1, 1))), axis=1)
    return np.concatenate([np.flatnonzero(row == -1) - np.flatnonzero(row == 1) for row in edges])


@pytest.mark.parametrize("ratio", [0.05, 0.3, 0.8])
@pytest.mark.parametrize(("k", "stride"), [(1, None), (3, 1), (6, 4)])
def test_spans_mask_the_drawn_share_at_every_position(ratio, k, stride):
    plan, source = setting(k, stride, 80, law="fixed", ratio=ratio, placement="spans", span_mean=4.0)
    vocabulary = source.tokenizer.vocabulary
    tokens = torch.full((6000, source.tokenizer.num_tokens(80)), vocabulary.first_real, dtype=torch.int32)
    _, predicted = corrupt(plan, tokens, torch.ones_like(tokens, dtype=torch.bool), torch.arange(6000))
    expected = ratio / vocabulary.anchor_stride
    by_position = predicted.double().mean(0).numpy()
    assert by_position.mean() == pytest.approx(
        expected, abs=5 * (4 * expected * (1 - expected) / tokens.numel()) ** 0.5
    )
    assert np.abs(by_position - expected).max() < 5 * (expected * (1 - expected) / 6000) ** 0.5


def test_spans_are_geometric():
    """At a low ratio spans rarely meet, so that runs of masked tokens have the lengths that were asked for."""
    plan, source = setting(law="fixed", ratio=0.01, placement="spans", span_mean=3.0, span_max=8)
    tokens = torch.full((4000, 300), 4, dtype=torch.int32)
    _, predicted = corrupt(plan, tokens, torch.ones_like(tokens, dtype=torch.bool), torch.arange(4000))
    lengths = run_lengths(predicted[:, 20:-20])
    for k in range(1, 8):
        assert (lengths > k).mean() == pytest.approx((2 / 3) ** k, abs=0.025)
    assert run_lengths(predicted).max() > 3
    assert np.isclose(sum(Spans.geometric(3.0, 8).shares), 1)


def test_spans_of_one_token_are_independent_masks():
    plan, _ = setting(law="fixed", ratio=0.3, placement="spans", span_mean=1.0)
    tokens = torch.full((1000, 300), 4, dtype=torch.int32)
    _, predicted = corrupt(plan, tokens, torch.ones_like(tokens, dtype=torch.bool), torch.arange(1000))
    mask = predicted.double()
    assert (mask[:, 1:] * mask[:, :-1]).mean().item() == pytest.approx(0.09, abs=4e-3)


@pytest.mark.parametrize("ratio", [0.1, 0.4, 0.9])
@pytest.mark.parametrize(("k", "stride"), [(1, None), (2, 1), (3, 3)])
def test_words_mask_the_drawn_share_of_a_sample(ratio, k, stride):
    plan, source = setting(k, stride, law="fixed", ratio=ratio, placement="pmi")
    one = source.batch(np.zeros(1, np.int64))
    tokens, maskable = one.tokens.expand(3000, -1), one.maskable.expand(3000, -1)
    _, predicted = corrupt(plan, tokens, maskable, torch.arange(3000))
    share = predicted.sum(1).double() / maskable.sum(1) * plan.anchor_stride
    assert share.mean().item() == pytest.approx(ratio, abs=5 * share.std().item() / 3000**0.5)
    assert not predicted[~maskable].any()


@pytest.mark.parametrize("ratio", [0.1, 0.4, 0.9])
@pytest.mark.parametrize(("k", "stride"), [(1, None), (3, 1)])
def test_a_suffix_is_the_end_of_a_sample_and_its_share_the_ratio(ratio, k, stride):
    plan, source = setting(k, stride, 83, law="fixed", ratio=ratio, placement="suffix")
    one = source.batch(np.zeros(1, np.int64))
    tokens, maskable = one.tokens.expand(2000, -1), one.maskable.expand(2000, -1)
    gone, predicted = hidden_tokens(plan, tokens, maskable, torch.arange(2000))
    share = (gone & maskable).sum(1).double() / maskable.sum(1)
    assert share.mean().item() == pytest.approx(ratio, abs=(0.002 if k == 1 else 0.03))
    assert share.std() < 0.03
    if k == 1:
        assert torch.equal(gone & maskable, predicted)
        word = draw(plan.seed, Stream.SPAN, torch.arange(2000), 1)[0].double() / 2**32
        number = maskable.sum(1) * draw_ratio(plan, torch.arange(2000)) + word
        assert torch.equal(predicted.sum(1), number.long())
        for row, mask in zip(maskable, predicted, strict=True):
            assert mask[row].diff().sum() <= 1  # from one place on


def test_words_prefer_the_motif_and_cover_it_whole():
    plan, source = setting(law="fixed", ratio=0.15, placement="pmi")
    words = plan.placement
    digits = ["ACGT".index(base) for base in "GATTAC"]
    rank = words.ranks[sum(d * 4 ** (5 - i) for i, d in enumerate(digits))].item()
    assert rank >= 4**6 - 12
    batch = source.batch(np.arange(400))
    _, predicted = corrupt(plan, batch.tokens, batch.maskable, batch.sample_ids)
    windows = batch.tokens.unfold(1, 6, 1) == torch.tensor(digits) + 4
    where = windows.all(2)
    masked = predicted.unfold(1, 6, 1)[where].double()
    assert masked.mean() > 0.2  # independent masks: 0.15
    assert masked.all(1).double().mean() > 0.15  # independent masks: 0.15 ** 6


def test_information_of_words_that_are_independent_is_zero():
    single = np.array([1.0, 3.0])
    pairs = np.outer(single, single).ravel()
    assert npmi(pairs, single) == pytest.approx(0, abs=1e-12)
    assert npmi(np.array([4.0, 0, 0, 4.0]), np.array([8.0, 8.0])).tolist() == pytest.approx([1, -1, -1, 1])


@pytest.mark.parametrize("placement", ["spans", "pmi", "suffix"])
@pytest.mark.parametrize(("k", "stride"), [(1, None), (3, 1), (2, 1)])
def test_no_visible_token_contains_a_masked_base_and_the_batch_does_not_matter(placement, k, stride):
    plan, source = setting(k, stride, low=0.1, high=0.9, per="sample", placement=placement, replace=(1.0, 0.0, 0.0))
    batch = source.batch(np.arange(40))
    inputs, predicted = corrupt(plan, batch.tokens, batch.maskable, batch.sample_ids)
    stride = source.tokenizer.stride
    hidden = torch.zeros(40, 200, dtype=torch.int64)
    seen = torch.zeros_like(hidden)
    for t in range(inputs.shape[1]):
        place = slice(t * stride, t * stride + k)
        hidden[:, place] += predicted[:, t, None]
        seen[:, place] += (inputs[:, t, None] != plan.mask_id) & batch.maskable[:, t, None]
    assert predicted.any()
    assert hidden.max() == 1
    assert not ((hidden > 0) & (seen > 0)).any()
    order = torch.tensor([31, 2, 17])
    part = corrupt(plan, batch.tokens[order], batch.maskable[order], batch.sample_ids[order])
    assert torch.equal(inputs[order], part[0])
    assert torch.equal(predicted[order], part[1])
    gone, asked = hidden_tokens(plan, batch.tokens, batch.maskable, batch.sample_ids)
    assert torch.equal(asked, predicted)
    assert torch.equal(gone & batch.maskable, (inputs == plan.mask_id) & batch.maskable)


def test_the_law_is_the_same_and_evaluation_knows_no_placement():
    spans, source = setting(placement="spans")
    plain, _ = setting()
    ids = torch.arange(5)
    assert torch.equal(draw_ratio(spans, ids), draw_ratio(plain, ids))
    assert spans.at_ratio(0.15, 9) == plain.at_ratio(0.15, 9)
    other, _ = setting(law="fixed", ratio=0.9, per="stratified", placement="suffix", replace=(0.5, 0.2, 0.3))
    assert fixed_masks(replace(other, seed=3, complement=True)) == fixed_masks(plain) == fixed_masks(plain, 0.15)
    assert fixed_masks(plain, 0.3).shared_threshold == threshold(0.3)
    assert replace(spans, placement=None) == plain


def test_only_the_definition_knows_placements():
    plan, _ = setting(placement="spans")
    assert not use_triton("auto", torch.zeros(1), plan)
    with pytest.raises(ConfigError, match="backend triton draws each token's mask by itself"):
        use_triton("triton", torch.zeros(1), plan)
    with pytest.raises(ConfigError, match="--kernels triton draws each token by itself; --mask.placement pmi"):
        PretrainConfig(kernels="triton", mask=MaskConfig(placement="pmi"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"placement": "blocks"}, "--mask.placement must be independent, spans, pmi or suffix, got"),
        ({"weighting": "sample"}, "--mask.weighting must be batch, token or bound"),
        ({"span_mean": 0.5}, "--mask.span-mean must be at least 1"),
        ({"span_max": 0}, "--mask.span-max must be at least 1"),
        ({"pmi_length": 1}, "--mask.pmi-length must be at least 2"),
    ],
)
@pytest.mark.usefixtures("any_type")
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        MaskConfig(**settings)


def test_words_that_cannot_be_counted_are_refused():
    with pytest.raises(ConfigError, match="two or more whole tokens of 6, got 6"):
        setting(6, 1, placement="pmi")
    with pytest.raises(ConfigError, match=r"ranks at most 2\*\*20 words, got 4096 tokens \*\* 2"):
        setting(6, 6, placement="pmi", pmi_length=12)
    with pytest.raises(ConfigError, match="does not fit into a sample"):
        setting(1, None, 9, placement="pmi", pmi_length=10)

    class Values(Random):
        def batch(self, ids):
            return replace(super().batch(ids), values=torch.zeros(len(ids), 200, 1))

    with pytest.raises(ConfigError, match="tokens that carry values"):
        Masker(
            MaskConfig(placement="pmi"),
            Vocabulary(size=8, pad_id=0, mask_id=1, unk_id=2, first_real=4, num_real=4),
            0,
            1,
            Values(KmerTokenizer(), 200),
        )
