import time

import numpy as np
import pytest

from dnar2mae.errors import ConfigError
from dnar2mae.mask_laws import Choice
from dnar2mae.theory import Fixed, Masking, Uniform, linear_task, risk_equivalent
from dnar2mae.theory.covariance import ar1, correlation, levels
from dnar2mae.theory.options import FeatureModel
from dnar2mae.theory.phase import fixed_grid, phase_map, uniform_grid
from dnar2mae.theory.regimes import centred_table, regime_table
from dnar2mae.theory.regret import regrets
from dnar2mae.theory.task import aligned_targets
from tests.theory.oracle import best_fixed


@pytest.fixture(scope="module")
def task():
    covariance = correlation(levels(200, (500.0, 20.0, 1.0), (0.02, 0.3, 1.0), 1))
    return linear_task(covariance, aligned_targets(covariance, 1.0), 1.0)


def test_anisotropy_moves_the_optimum_off_zero():
    weak, strong = (
        best_fixed(linear_task(s, aligned_targets(s, 0.0), 0.5), 0.8, Masking())[0]
        for s in (ar1(100, 0.6), ar1(100, 0.9))
    )
    assert weak == 0
    assert strong == pytest.approx(0.13, abs=0.02)


def test_map_is_the_single_risks(task):
    aspects, noises = np.array([0.3, 0.9]), np.array([0.1, 1.0, 5.0])
    fixed_laws, random_laws = [Fixed(p) for p in (0.05, 0.1, 0.4)], [Uniform(0.01, 0.4), Uniform(0.2, 0.9)]
    masking, calls = Masking(scale="inv", loss="masked"), []
    found = phase_map(centred_table(task, masking), aspects, noises, fixed_laws, random_laws, advance=calls.append)
    assert calls == [3, 5]
    one = linear_task(task.covariance, task.target, 5.0)
    expected = risk_equivalent(one, fixed_laws, aspects, masking).excess
    np.testing.assert_allclose(found.fixed_risk[:, 2], expected.min(0))
    np.testing.assert_allclose(found.best_ratio[:, 2], np.array([0.05, 0.1, 0.4])[expected.argmin(0)])
    np.testing.assert_array_equal(found.wins, found.gain < -1e-3)


def test_no_gain_is_claimed_at_the_peak(task):
    laws = [Fixed(0.1)], [Uniform(0.1, 0.3)]
    found = phase_map(centred_table(task, Masking()), np.array([1.0]), np.array([1.0]), *laws)
    assert np.isnan(found.gain[0, 0])
    assert not found.wins.any()


def test_a_peak_of_the_random_law_alone_is_an_infinite_loss(task):
    """With the loss on masked entries the peak is at p = d / n: the law Choice(0.5) meets it, fixed ratios avoid it."""
    table = centred_table(task, Masking(loss="masked"))
    found = phase_map(table, np.array([0.5]), np.array([1.0]), [Fixed(0.1), Fixed(0.2)], [Choice((0.5,))])
    assert found.gain[0, 0] == np.inf
    assert not found.wins.any()
    (row,) = regrets(lambda test: table, Fixed(0.0), np.array([0.5, 2.0]), np.array([1.0]), [Choice((0.5,))])
    assert row["mean_regret"] == row["worst_regret"] == np.inf


def test_rounding_wins_nothing():
    """Almost without noise, risks are below the rounding of their parts, and one may come out negative."""
    features, aspects, noises = FeatureModel(covariance="ar1:0.9", num_features=60), np.array([0.1]), np.array([1e-12])
    table = regime_table(features, "share", 2.0)
    base, slope = table(fixed_grid(400, 1e-4)[1:3], aspects)
    assert (base + slope * noises).min() < 0
    found = phase_map(table, aspects, noises, fixed_grid(400, 1e-4), uniform_grid(0.2, 1e-4))
    assert found.fixed_risk.min() > 0
    assert -1 <= found.gain.min()
    assert not found.wins.any()


def test_a_full_diagram_takes_less_than_a_minute(task):
    start = time.process_time()
    aspects, noises = np.geomspace(0.1, 10, 200), np.geomspace(0.01, 10, 200)
    fixed_laws = fixed_grid(200, 1e-4)
    masking = Masking(scale="inv", loss="masked")
    found = phase_map(centred_table(task, masking), aspects, noises, fixed_laws, uniform_grid(0.05, 1e-4))
    assert found.gain.shape == (200, 200)
    assert 0.03 < found.wins.mean() < 0.1
    assert time.process_time() - start < 60


def test_refuses_bad_input(task):
    with pytest.raises(ConfigError, match="at least one fixed law"):
        phase_map(centred_table(task, Masking()), np.ones(1), np.ones(1), [], [Uniform(0.1, 0.5)])
