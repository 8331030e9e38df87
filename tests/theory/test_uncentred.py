import numpy as np
import pytest

from dnar2mae.errors import ConfigError
from dnar2mae.theory import Fixed, Masking, Uniform, linear_task, risk_equivalent
from dnar2mae.theory.covariance import ar1, latent_factor
from dnar2mae.theory.uncentred import UncentredTask, positive_targets, uncentred_equivalent
from tests.theory.oracle import simulate_uncentred

LAWS = [Fixed(0.035), Fixed(0.3), Uniform(0.0, 0.5)]


def excess(task, laws, aspect, scale="none"):
    base, slope = uncentred_equivalent(task, laws, aspect, scale)
    return (base + task.noise * slope)[:, 0]


@pytest.mark.parametrize("scale", ["none", "inv"])
@pytest.mark.parametrize("aspect", [0.5, 2.0])
def test_agrees_with_simulation(aspect, scale):
    covariance = latent_factor(150, 20, 4.0)
    task = UncentredTask(covariance, positive_targets(covariance, 4), np.full(150, 2.0), 1.0)
    found = simulate_uncentred(task, LAWS, aspect, scale, range(30)).mean(0)
    np.testing.assert_allclose(excess(task, LAWS, aspect, scale), found, rtol=0.06)


@pytest.mark.parametrize("scale", ["none", "inv"])
def test_without_a_mean_it_is_the_centred_risk(scale):
    covariance = ar1(80, 0.7)
    target = positive_targets(covariance, 3)
    task = UncentredTask(covariance, target, np.zeros(80), 0.5)
    masking = Masking(scale=scale, num_masks="inf")
    for aspect in (0.5, 3.0):
        expected = risk_equivalent(linear_task(covariance, target, 0.5), LAWS, aspect, masking).excess[:, 0]
        np.testing.assert_allclose(excess(task, LAWS, aspect, scale), expected, rtol=1e-7)


def test_refuses_bad_input():
    with pytest.raises(ConfigError, match=r"must have the shapes \(5, K\) and \(5,\), got \(5, 1\) and \(4,\)"):
        UncentredTask(np.eye(5), np.ones((5, 1)), np.ones(4), 1.0)
    with pytest.raises(ConfigError, match="--noise must be >= 0"):
        UncentredTask(np.eye(5), np.ones((5, 1)), np.ones(5), -1.0)
    task = UncentredTask(np.eye(5), np.ones((5, 1)), np.ones(5), 1.0)
    with pytest.raises(ConfigError, match="can mask every feature"):
        uncentred_equivalent(task, [Uniform(0.0, 1.0)], 0.5)
    with pytest.raises(ConfigError, match="aspect ratios d/n must be > 0"):
        uncentred_equivalent(task, [Fixed(0.1)], -1.0)
