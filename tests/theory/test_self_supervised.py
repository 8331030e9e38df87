import numpy as np
import pytest

from dnar2mae.errors import ConfigError
from dnar2mae.theory import Fixed, Masking, Uniform, effective_ratio
from dnar2mae.theory.covariance import ar1, correlation, spiked
from dnar2mae.theory.self_supervised import coordinate_task, reconstruction_equivalent, simulate_autoencoder


def test_a_feature_is_a_regression_on_the_others():
    task = coordinate_task(ar1(30, 0.8), 10)
    assert task.noise == pytest.approx((1 - 0.8**2) / (1 + 0.8**2))
    assert task.signal_variance + task.noise == pytest.approx(1)


@pytest.mark.parametrize("num_masks", [1, 2, "inf"])
def test_reconstruction_agrees_with_simulation(num_masks):
    covariance = ar1(120, 0.8)
    masking, laws = Masking(loss="masked", num_masks=num_masks), [Fixed(0.6), Uniform(0.5, 0.8)]
    for test_ratio in (0.0, 0.5):
        theory = reconstruction_equivalent(covariance, laws, 0.3, masking, test_ratio=test_ratio)[:, 0]
        found = simulate_autoencoder(covariance, laws, 0.3, masking, test_ratio=test_ratio, seeds=range(3))
        np.testing.assert_allclose(theory, found.reconstruction.mean(0), rtol=0.12)


def test_with_every_mask_only_the_effective_ratio_counts():
    covariance = correlation(spiked(40, 0.1, 30.0))
    masking, law = Masking(loss="masked", num_masks="inf"), Uniform(0.01, 0.99)
    same = Fixed(effective_ratio(law, masking))
    found = simulate_autoencoder(covariance, [law, same], 1.0, masking, rank=4, seeds=range(3))
    np.testing.assert_allclose(found.probe[:, 0], found.probe[:, 1], rtol=1e-9)
    np.testing.assert_allclose(found.reconstruction[:, 0], found.reconstruction[:, 1], rtol=1e-9)


def test_the_probe_wants_more_masking_than_the_reconstruction():
    covariance = correlation(spiked(80, 0.075, 60.0))
    ratios = np.array([0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8])
    laws = [Fixed(p) for p in ratios.tolist()]
    masking = Masking(loss="masked", num_masks="inf")
    found = simulate_autoencoder(covariance, laws, 1.0, masking, seeds=range(6))
    assert ratios[found.probe.mean(0).argmin()] > ratios[found.reconstruction.mean(0).argmin()]


def test_refuses_bad_input():
    with pytest.raises(ConfigError, match=r"the feature must be in 0..9, got 10"):
        coordinate_task(ar1(10, 0.5), 10)
    with pytest.raises(ConfigError, match=r"--rank must be in 1..10, got 11"):
        simulate_autoencoder(ar1(10, 0.5), [Fixed(0.3)], 0.5, rank=11)
    with pytest.raises(ConfigError, match="seeds must differ, got 1 more than once"):
        simulate_autoencoder(ar1(10, 0.5), [Fixed(0.3)], 0.5, seeds=(1, 1))
    with pytest.raises(ConfigError, match="without a ridge, with a loss on masked entries"):
        simulate_autoencoder(ar1(10, 0.5), [Fixed(0.3)], 0.5, Masking())


@pytest.mark.parametrize("aspect", [0.5, 2.0])
def test_one_masked_feature_a_row_is_ridge_regression_on_the_others(aspect):
    covariance, ridge, ratio, size = ar1(60, 0.8), 0.3, 1e-6, 60
    masking = Masking(loss="masked", num_masks="inf", ridge=ratio * ridge)
    theory = reconstruction_equivalent(covariance, [Fixed(ratio)], aspect, masking)[0, 0]
    rng, errors = np.random.default_rng(0), []
    for _ in range(40):
        x = rng.standard_normal((round(size / aspect), size)) @ np.linalg.cholesky(covariance).T
        inverse = np.linalg.inv(x.T @ x / len(x) + ridge * np.eye(size))
        # column j: ridge regression of feature j on the others, from the inverse of all
        residual = inverse / np.diag(inverse)
        errors.append(np.mean(np.sum(residual * (covariance @ residual), axis=0)[np.linspace(0, 59, 12).astype(int)]))
    assert theory == pytest.approx(np.mean(errors), rel=0.03)
