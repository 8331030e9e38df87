import numpy as np
import pytest

from dnar2mae.scoring.blocks import ratio_of_sums


def test_the_standard_error_is_that_of_repeated_draws():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(2000):
        units = rng.integers(50, 100, 640).astype(float)
        shift = np.repeat(rng.normal(0, 0.05, 32), 20)  # neighbours are alike
        found.append(ratio_of_sums(units * (1.9 + shift) + rng.normal(0, np.sqrt(units)), units))
    values, errors = np.array(found).T
    assert values.mean() == pytest.approx(1.9, abs=0.001)
    assert errors.mean() == pytest.approx(values.std(), rel=0.05)


def test_by_hand():
    value, error = ratio_of_sums(np.array([1.0, 3.0, 2.0]), np.array([1.0, 2.0, 1.0]))
    assert value == 1.5
    assert error == pytest.approx(np.sqrt(3 / 2 * (0.25 + 0 + 0.25)) / 4)


def test_too_little_to_say():
    value, error = ratio_of_sums(np.array([3.0]), np.array([2.0]))
    assert value == 1.5
    assert np.isnan(error)
    assert np.isnan(ratio_of_sums(np.zeros(3), np.zeros(3)).value)
