import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnar2mae.errors import ConfigError
from dnar2mae.theory import (
    Masking,
    choice,
    effective_ratio,
    fixed,
    from_density,
    from_moments,
    parse_law,
    uniform,
)


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


def moment(law, power):
    return float(law.weights @ law.ratios**power)


def test_moments_and_densities_and_compression_agree():
    law = Uniform(0.1, 0.7)
    moments = tuple(moment(law, k) for k in range(1, 8))
    again = from_moments(moments)
    flat = from_density(np.ones_like, 0.1, 0.7)
    small = law.compressed(4)
    assert len(again.ratios) == len(small.ratios) == 4
    for power in range(8):
        for other in (again, flat, small):
            assert moment(other, power) == pytest.approx(moment(law, power), rel=1e-9)
    assert law.compressed(99) is law


def test_names_read_back():
    assert parse_law("fixed:0.15").mean() == 0.15
    assert parse_law("uniform:0.05,0.5").mean() == pytest.approx(0.275)
    assert parse_law("choice:0.25,0.5,0.75").mean() == 0.5
    assert parse_law("beta:2,3,0,1").mean() == pytest.approx(2 / 5)
    for law in (Fixed(0.15), Uniform(0.05, 0.5), Choice((0.2, 0.3))):
        assert parse_law(law.name).mean() == law.mean()


@pytest.mark.parametrize("spec", ["", "uniform", "uniform:0.1", "fixed:a", "choice:", "beta:0.5,1,0,1", "cosine:0,1"])
def test_refuses_unknown_names(spec):
    with pytest.raises(ConfigError, match="a law must be fixed:P, uniform:LOW,HIGH"):
        parse_law(spec)


def test_refuses_impossible_laws():
    for ratio in (-0.1, 1.0, 1.5, float("nan")):
        with pytest.raises(ConfigError, match=r"a fixed mask ratio must be in \[0, 1\)"):
            Fixed(ratio)
    for ends in ((0.5, 0.5), (0.6, 0.5), (-0.1, 0.5), (0.5, 1.1)):
        with pytest.raises(ConfigError, match="0 <= low < high <= 1"):
            Uniform(*ends)
    with pytest.raises(ConfigError, match="needs ratios in"):
        Choice((0.5, 1.0))
    with pytest.raises(ConfigError, match="one weight > 0 for each"):
        Choice((0.5, 0.6), (1.0,))
    with pytest.raises(ConfigError, match="finite, not negative and not zero everywhere"):
        from_density(np.zeros_like, 0.0, 0.5)
    with pytest.raises(ConfigError, match="odd number"):
        from_moments((0.5, 0.3))
    with pytest.raises(ConfigError, match="no law of 2 different ratios"):
        from_moments((0.5, 0.2, 0.1))
    with pytest.raises(ConfigError, match=r"no law on \[0, 1\)"):
        from_moments((1.5, 2.5, 5.0))


def test_refuses_a_law_that_can_mask_everything():
    with pytest.raises(ConfigError, match="uniform:0,1 can mask every feature"):
        effective_ratio(Uniform(0.0, 1.0), Masking(scale="inv"))
    with pytest.raises(ConfigError, match="needs mask ratios > 0, got choice:0,0.5"):
        effective_ratio(Choice((0.0, 0.5)), Masking(loss="masked"))
