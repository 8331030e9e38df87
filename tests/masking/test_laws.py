from dataclasses import replace

import numpy as np
import pytest
import torch

from dnar2mae.config import MaskConfig
from dnar2mae.errors import ConfigError
from dnar2mae.mask_laws import parse_law
from dnar2mae.masking import Masker, draw_ratio
from dnar2mae.tokenizers import KmerTokenizer

VOCABULARY = KmerTokenizer().vocabulary


def ratios(number, total=1000, **config):
    """One ratio for each of the first steps."""
    masker = Masker(MaskConfig(**config), VOCABULARY, seed=1, total_steps=total)
    return np.array([draw_ratio(masker.plan(step), torch.zeros(1, dtype=torch.int64)).item() for step in range(number)])


def test_uniform_per_sample_over_a_million_draws():
    plan = Masker(MaskConfig(low=0.05, high=0.5, per="sample"), VOCABULARY, 0, 1).plan(0)
    drawn = draw_ratio(plan, torch.arange(1_000_000)).numpy()
    assert drawn.min() >= 0.05 - 1e-9
    assert drawn.max() <= 0.5
    counts = np.histogram(drawn, 50, (0.05, 0.5))[0]
    chi2 = ((counts - 20_000) ** 2 / 20_000).sum()
    assert chi2 < 49 + 5 * np.sqrt(2 * 49)


def test_per_batch_shares_one_ratio_which_changes_with_the_step():
    masker = Masker(MaskConfig(), VOCABULARY, 0, 10)
    first = draw_ratio(masker.plan(0), torch.arange(100))
    assert first.unique().numel() == 1
    assert draw_ratio(masker.plan(1), torch.arange(100))[0] != first[0]
    assert 0.26 < ratios(2000).mean() < 0.29


def test_fixed_and_choice():
    assert np.allclose(ratios(5, law="fixed", ratio=0.3), 0.3, atol=1e-9)
    drawn = ratios(3000, law="choice", ratios=(0.15, 0.3, 0.75))
    values, counts = np.unique(drawn.round(6), return_counts=True)
    assert values.tolist() == [0.15, 0.3, 0.75]
    assert counts.min() > 900


@pytest.mark.parametrize("law", ["linear", "cosine"])
def test_schedules_run_from_low_to_high(law):
    drawn = ratios(1000, law=law, low=0.1, high=0.7)
    assert drawn[0] == pytest.approx(0.1, abs=1e-8)
    assert drawn[-1] == pytest.approx(0.7, abs=1e-8)
    assert (np.diff(drawn) > 0).all()
    assert ratios(1000, law=law, low=0.7, high=0.1)[-1] == pytest.approx(0.1, abs=1e-8)


@pytest.mark.parametrize("law", ["uniform:0.2,0.7", "beta:2,3,0,1"])
def test_stratified_samples_take_quantiles_a_golden_ratio_apart(law):
    config = MaskConfig(per="stratified").with_law(parse_law(law))
    plan = Masker(config, VOCABULARY, 3, 10).plan(4)
    ids = torch.arange(1000)
    quantile = (plan.rotation / 2**32 + ids.numpy() * (5**0.5 - 1) / 2) % 1
    ends = np.array([low for low, _ in plan.intervals] + [sum(plan.intervals[-1])]) / 2**32
    expected = np.interp(quantile * len(plan.intervals), np.arange(len(ends)), ends)
    assert draw_ratio(plan, ids).numpy() == pytest.approx(expected, abs=1e-5)
    assert torch.equal(draw_ratio(plan, ids + 2**31), draw_ratio(plan, ids))  # 31 bits of the index


@pytest.mark.parametrize("law", ["uniform:0.2,0.7", "beta:2,3,0,1"])
def test_the_importance_of_a_sample_is_1_over_the_density_at_its_ratio(law):
    masker = Masker(MaskConfig(per="sample").with_law(parse_law(law)), VOCABULARY, 3, 10)
    plan, ids = masker.plan(0), torch.arange(5000)
    ends = np.array([low for low, _ in plan.intervals] + [sum(plan.intervals[-1])]) / 2**32
    drawn = draw_ratio(plan, ids).numpy()
    widths = np.diff(ends)[np.searchsorted(ends, drawn, side="right") - 1]  # all of the same probability
    found = masker.importance(plan, 0, ids).numpy()
    assert found == pytest.approx(widths * len(plan.intervals), rel=1e-6)
    assert found.mean() == pytest.approx(ends[-1] - ends[0], rel=0.05)
    for low, span in plan.intervals:  # where one interval ends and the next begins
        at = masker.importance(replace(plan, intervals=((low, 0),)), 0, ids[:1]).item()
        assert at == pytest.approx(span * len(plan.intervals) / 2**32, rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"high": 1.3}, r"--mask.high must be in \[0, 1\], got 1.3"),
        ({"low": -0.1}, r"--mask.low must be in \[0, 1\], got -0.1"),
        ({"low": 0.6, "high": 0.5}, r"--mask.law uniform:0.6,0.5: low must be at most high \(0.5\)"),
        ({"law": "zipf"}, "--mask.law must be uniform, fixed, choice, linear, cosine, beta or bell, got zipf"),
        ({"ratios": ()}, "--mask.ratios must be one or more"),
        ({"replace": (0.8, 0.1, 0.2)}, "--mask.replace must be three shares"),
        ({"per": "token"}, "--mask.per must be batch, sample or stratified"),
    ],
)
@pytest.mark.usefixtures("any_type")
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        MaskConfig(**settings)
