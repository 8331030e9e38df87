import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnar2mae.errors import ConfigError
from dnar2mae.mask_laws import Beta, Choice, Cosine, Fixed, Linear, Uniform, parse_law
from dnar2mae.theory.options import Masking
from dnar2mae.theory.rows import compress, effective_ratio


@pytest.mark.parametrize(
    ("ends", "rows", "masked"),
    [((0, 1), 1 / 3, 1 / 2), ((0.1, 0.9), 0.3933, 0.5), ((0, 0.6), 0.2571, 0.3667), ((0.5, 0.95), 0.6636, 0.6834)],
)
def test_effective_ratio_of_uniform_laws(ends, rows, masked):
    law = Uniform(*map(float, ends))
    assert effective_ratio(law, Masking()) == pytest.approx(rows, abs=1e-4)
    assert effective_ratio(law, Masking(loss="masked")) == pytest.approx(masked, abs=1e-4)
    assert effective_ratio(law, Masking(loss="masked-mean")) == pytest.approx(rows, abs=1e-4)


@given(st.floats(0.001, 0.99), st.sampled_from(["none", "inv"]), st.sampled_from(["rows", "masked", "masked-mean"]))
def test_a_fixed_ratio_is_its_own_effective_ratio(ratio, scale, loss):
    assert effective_ratio(Fixed(ratio), Masking(scale=scale, loss=loss)) == pytest.approx(ratio)


@given(st.lists(st.floats(0.01, 0.95), min_size=1, max_size=6))
def test_effective_ratio_lies_within_the_law(ratios):
    law = Choice(tuple(ratios))
    for masking in (Masking(), Masking(scale="inv"), Masking(loss="masked")):
        assert min(ratios) - 1e-9 <= effective_ratio(law, masking) <= max(ratios) + 1e-9


def test_a_compressed_rule_keeps_the_moments():
    law = Uniform(0.1, 0.7)
    nodes, weights = compress(law.nodes, law.weights, 4)
    assert len(nodes) == 4
    for power in range(8):
        assert weights @ nodes**power == pytest.approx(law.weights @ law.nodes**power, rel=1e-9)
    assert compress(law.nodes, law.weights, 99)[0] is law.nodes


def test_a_law_s_expectations_are_those_of_its_distribution():
    assert parse_law("beta:2,3,0,1").mean == pytest.approx(2 / 5)
    flat, uniform = Beta(low=0.1, high=0.7, a=1.0, b=1.0), Uniform(0.1, 0.7)
    shares = (np.arange(20_000) + 0.5) / 20_000
    for power in range(1, 6):
        assert flat.weights @ flat.nodes**power == pytest.approx(uniform.weights @ uniform.nodes**power)
        for law in (Linear(0.6, 0.2), Cosine(0.6, 0.2)):
            over_the_run = np.mean([law.at(share) ** power for share in shares.tolist()])
            assert law.weights @ law.nodes**power == pytest.approx(over_the_run, rel=1e-8)
    assert Uniform(0.3, 0.3).nodes.tolist() == [0.3]


def test_a_schedule_has_an_effective_ratio():
    linear, cosine = (effective_ratio(parse_law(f"{kind}:0.1,0.9"), Masking()) for kind in ("linear", "cosine"))
    assert linear == pytest.approx(effective_ratio(Uniform(0.1, 0.9), Masking()))
    assert 0.1 < cosine < linear  # the cosine stays longer where much is masked, and visible rows are few


def test_simulations_draw_from_the_law():
    rng = np.random.default_rng(0)
    for law in (Fixed(0.3), Uniform(0.2, 0.6), Choice((0.1, 0.5)), Beta(low=0.2, high=0.6, a=2.0, b=5.0)):
        drawn = law.sample(20_000, rng)
        assert drawn.mean() == pytest.approx(law.mean, abs=0.005)
        assert drawn.max() <= law.largest


@pytest.mark.parametrize("spec", ["", "uniform", "uniform:0.1", "fixed:a", "choice:", "zipf:1", "cosine:0"])
def test_refuses_unknown_names(spec):
    with pytest.raises(ConfigError, match=f"a law must be one of uniform:LOW,HIGH, fixed:P, .*; got {spec}"):
        parse_law(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("fixed:-0.1", r"fixed:-0.1: ratio must be in \[0, 1\)"),
        ("fixed:1", "ratio must be in"),
        ("fixed:nan", "ratio must be in"),
        ("uniform:0.6,0.5", r"uniform:0.6,0.5: low must be at most high \(0.5\)"),
        ("uniform:-0.1,0.5", r"low must be in \[0, 1\]"),
        ("uniform:0.5,1.1", r"high must be in \[0, 1\]"),
        ("cosine:1.1,0.5", r"low must be in \[0, 1\]"),
        ("choice:0.5,1", r"ratios must be numbers in \[0, 1\)"),
        ("beta:0.5,1,0,1", "A and B must be at least 1"),
        ("beta:1,1,0.5,0.5", r"low must be below high \(0.5\)"),
    ],
)
def test_refuses_impossible_laws(spec, message):
    with pytest.raises(ConfigError, match=message):
        parse_law(spec)


def test_refuses_a_law_that_can_mask_everything():
    with pytest.raises(ConfigError, match="uniform:0,1 can mask every feature"):
        effective_ratio(Uniform(0.0, 1.0), Masking(scale="inv"))
    with pytest.raises(ConfigError, match="needs mask ratios > 0, got choice:0,0.5"):
        effective_ratio(Choice((0.0, 0.5)), Masking(loss="masked"))
