import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dnar2mae import pretrain
from dnar2mae.config import MaskConfig, PretrainConfig
from dnar2mae.density.chain_rule import token_bits
from dnar2mae.density.hidden import evaluation_plan
from dnar2mae.errors import ConfigError
from dnar2mae.kernels.backend import use_triton
from dnar2mae.mask_laws import Uniform
from dnar2mae.masking import Masker, corrupt, draw_ratio, plans_of_bound
from dnar2mae.models.head import TokenHead, ValueHead
from dnar2mae.run.metrics import read_metrics
from dnar2mae.training.bound import bound_of, extrapolated, sample_bounds, why_no_bound
from dnar2mae.training.validation import masked_sums
from tests.density.oracle import (
    START,
    VOCABULARY,
    Bases,
    Oracle,
    exact_bits,
    exact_predictor,
    markov_bases,
    order_0,
    short_sighted,
)
from tests.modalities import kinds

PLAN = evaluation_plan(VOCABULARY)


def bound(predict, bases, pairs=4):
    model, source = Oracle(predict), Bases(bases)

    def measure(source, plan, ids):
        return masked_sums(model, source, plan, ids)

    return bound_of(sample_bounds(measure, source, PLAN, np.arange(len(bases)), pairs), math.log(2))


def test_the_bound_of_an_order_0_model_is_its_entropy():
    drawn = np.random.default_rng(0).choice(4, (600, 50), p=START)
    estimate = bound(order_0, drawn)
    entropy = -(START * np.log2(START)).sum()
    assert estimate.value == pytest.approx(entropy, abs=3 * estimate.standard_error)
    assert estimate.standard_error < 0.01
    flat = bound(lambda bases, visible: torch.full((*bases.shape, 4), 0.25, dtype=torch.float64), drawn)
    assert flat.value == pytest.approx(2, abs=1e-12)  # whatever is masked


def test_the_bound_of_exact_conditionals_is_the_exact_value_in_any_order():
    bases = markov_bases(400, 40)
    exact = exact_bits(bases)
    model, ids = Oracle(exact_predictor), np.arange(len(bases))
    for order in ("left-to-right", "random"):
        bits = np.stack(token_bits(model, Bases(bases), ids[:48], order))
        assert bits.sum(1) == pytest.approx(exact[:48], abs=1e-9)
    estimate = bound(exact_predictor, bases)
    assert estimate.value == pytest.approx(exact.sum() / bases.size, abs=3 * estimate.standard_error)


def test_the_bound_of_other_conditionals_is_above_and_their_mean_over_random_orders():
    bases = markov_bases(480, 24, seed=3)
    ids, model = np.arange(len(bases)), Oracle(short_sighted)
    estimate = bound(short_sighted, bases, pairs=16)
    orders = [np.stack(token_bits(model, Bases(bases), ids, "random", seed=seed)).sum(1) for seed in range(4)]
    each = np.mean(orders, axis=0) / bases.shape[1]
    groups = each.reshape(-1, 16).mean(1)  # that share their orders
    error = math.hypot(estimate.standard_error, groups.std(ddof=1) / math.sqrt(len(groups)))
    assert abs(estimate.value - each.mean()) < 3 * error
    assert error < 0.02
    assert estimate.value > exact_bits(bases).sum() / bases.size + 5 * error


def test_ratios_are_stratified_and_masks_antithetic():
    tokens = torch.full((500, 200), VOCABULARY.first_real)
    everything, ids = torch.ones_like(tokens, dtype=torch.bool), torch.arange(0, 500 * 55, 55)
    for pair, (plan, twin) in enumerate(zip(*[iter(plans_of_bound(PLAN, 4))] * 2, strict=True)):
        ratio = draw_ratio(plan, ids)
        assert pair / 8 <= ratio.min() < ratio.max() < (pair + 1) / 8
        assert ratio.std() * 12**0.5 * 8 == pytest.approx(1, abs=0.1)  # uniform in its stratum
        one, other = (corrupt(part, tokens, everything, ids)[1] for part in (plan, twin))
        assert (one ^ other).all()
        assert one.double().mean().item() == pytest.approx((pair + 0.5) / 8, abs=0.01)
        inputs, predicted = corrupt(twin, tokens, everything, ids)
        assert torch.equal(inputs == VOCABULARY.mask_id, predicted)


def test_the_ratios_of_a_stratified_batch_lie_apart():
    masker = Masker(MaskConfig(low=0.0, high=1.0, per="stratified"), VOCABULARY, 0, 100)
    for step in range(100):
        ratio = draw_ratio(masker.plan(step), torch.arange(step * 8, step * 8 + 8)).sort().values
        around = torch.cat([ratio, ratio[:1] + 1]).diff()
        assert 0.09 < around.min()
        assert around.max() < 0.24
    ids = torch.arange(8 * 4000).view(-1, 8)
    first = torch.stack([draw_ratio(masker.plan(step), row)[3] for step, row in enumerate(ids[:600])])
    assert first.mean().item() == pytest.approx(0.5, abs=0.05)  # each alone follows the law


def test_the_definition_draws_the_masks_of_the_bound_under_every_backend():
    plan = plans_of_bound(PLAN, 1)[1]
    assert not any(use_triton(backend, torch.zeros(1), plan) for backend in ("auto", "reference", "triton"))
    with pytest.raises(ConfigError, match="--kernels triton draws each token by itself; --mask.per stratified needs"):
        PretrainConfig(kernels="triton", mask=MaskConfig(per="stratified"))


def test_what_has_no_bound_and_what_extrapolates():
    head = TokenHead(VOCABULARY, 8)
    assert why_no_bound(head, MaskConfig()) is None
    assert "--mask.placement spans" in why_no_bound(head, MaskConfig(placement="spans"))
    assert "predicts numbers" in why_no_bound(ValueHead(8, 2, lambda a, b: a), MaskConfig())
    assert extrapolated(MaskConfig()) == "uniform:0.05,0.5 never trains above 0.5"
    assert extrapolated(MaskConfig(law="fixed", ratio=0.15)) == "fixed:0.15 never trains above 0.15"
    assert extrapolated(MaskConfig(low=0.0, high=1.0)) == ""


@pytest.mark.parametrize("high", [1.0, 0.9])
def test_validations_during_a_run_have_the_bound_where_the_law_reaches_far(tmp_path, monkeypatch, high):
    monkeypatch.setenv("DNAR2MAE_CACHE", str(tmp_path / "cache"))
    config = kinds.KINDS["dna"](tmp_path)
    mask = replace(config.mask.with_law(Uniform(0.0, high)), per="stratified", weighting="bound")
    result = pretrain(replace(config, mask=mask, steps=4, validate_every=2), tmp_path / "run")
    rows = [row for row in read_metrics(tmp_path / "run") if row["event"] == "validation"]
    assert [row["step"] for row in rows] == [0, 2, 4]
    assert result.bound is not None
    if high < 0.95:
        assert not any("bound" in row for row in rows)
    else:
        assert all(0 < row["bound_error"] < 0.2 for row in rows)
        assert rows[-1]["bound"] == pytest.approx(result.bound["value"], abs=4 * rows[-1]["bound_error"])
