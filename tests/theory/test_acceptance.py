"""The fifteen checks that any implementation of the theory has to pass."""

import numpy as np
import pytest

from dnar2mae.theory import Fixed, Masking, Uniform, effective_ratio, linear_task, risk_equivalent, spectral_task
from dnar2mae.theory.covariance import ar1, latent_factor, levels, power_law, spiked, unit_mean_variance
from dnar2mae.theory.monte_carlo import expected_fit, mask_moments, simulate
from dnar2mae.theory.phase import uniform_grid
from dnar2mae.theory.task import aligned_targets
from dnar2mae.theory.uncentred import UncentredTask, positive_targets
from tests.theory.oracle import best_fixed, isotropic_risk, one_covariance_risk, simulate_uncentred

pytestmark = pytest.mark.long

NONE, INV = Masking(), Masking(scale="inv")
GAMMAS = (0.3, 0.8, 1.5, 4.0)


def excess(task, law, gamma, masking=NONE):
    return risk_equivalent(task, [law], gamma, masking).excess[0, 0]


def unit_targets(covariance, target):
    return target / np.sqrt(np.sum(target * (covariance @ target), axis=0))


@pytest.fixture(scope="module")
def ar_task():
    covariance = ar1(120, 0.8)
    return linear_task(covariance, np.random.default_rng(5).standard_normal(120), 0.4)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_01_fixed_ratio_is_the_closed_form(gamma, ratio):
    rng = np.random.default_rng(5)
    covariance = np.diag(rng.uniform(0.3, 3, 120)) + ar1(120, 0.7)
    target = rng.standard_normal(120) / 10
    moments = ((1 - ratio) ** 2, ratio * (1 - ratio), 1 - ratio)
    exact = one_covariance_risk(covariance, target, 0.4, 120 / gamma, moments)
    assert excess(linear_task(covariance, target, 0.4), Fixed(ratio), gamma) == pytest.approx(exact, rel=1e-7)


@pytest.mark.parametrize("ratio", [0.0, 0.4, 0.8])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_02_isotropic(gamma, ratio):
    task = linear_task(np.eye(120), np.full(120, 120**-0.5), 0.4)
    assert excess(task, Fixed(ratio), gamma) == pytest.approx(isotropic_risk(gamma, ratio, 0.4), rel=1e-8)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_03_vanishing_ridge_is_ridgeless(ar_task, gamma):
    law = Uniform(0.1, 0.8)
    ridge = excess(ar_task, law, gamma, Masking(ridge=1e-7))
    assert ridge == pytest.approx(excess(ar_task, law, gamma), rel=1e-4)


@pytest.mark.parametrize("masking", [NONE, INV], ids=["none", "inv"])
@pytest.mark.parametrize("ends", [(0.0, 0.6), (0.1, 0.95)])
@pytest.mark.parametrize("gamma", [0.2, 0.8, 1.3, 4.0])
def test_04_one_mask_has_the_mean_of_its_effective_ratio(ar_task, gamma, ends, masking):
    random = risk_equivalent(ar_task, [Uniform(*ends)], gamma, masking)
    same = risk_equivalent(ar_task, [Fixed(float(random.effective_ratio[0, 0]))], gamma, masking)
    assert random.bias[0, 0] == pytest.approx(same.bias[0, 0], rel=1e-8)
    assert random.effective_ridge[0, 0] == pytest.approx(same.effective_ridge[0, 0], abs=1e-8)
    assert random.variance[0, 0] > same.variance[0, 0]


@pytest.mark.parametrize("ends", [(0.0, 0.9), (0.2, 0.8)])
def test_05_effective_ratio_of_many_samples(ar_task, ends):
    law = Uniform(*ends)
    q, q2 = (float(law.weights @ (1 - law.nodes) ** k) for k in (1, 2))
    found = risk_equivalent(ar_task, [law], 1e-7).effective_ratio[0, 0]
    assert found == pytest.approx(1 - q2 / q, abs=1e-5)
    assert effective_ratio(law, NONE) == pytest.approx(1 - q2 / q, abs=1e-12)


@pytest.mark.parametrize("loss", ["rows", "masked", "masked-mean"])
@pytest.mark.parametrize("scale", ["none", "inv"])
@pytest.mark.parametrize("ends", [(0.1, 0.9), (0.0, 0.6), (0.5, 0.95)])
def test_06_every_mask_is_the_effective_ratio(ends, scale, loss):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 60)) @ rng.standard_normal((60, 60))
    moment, cross = x.T @ x / 50, x.T @ rng.standard_normal((50, 1)) / 50
    law, masking = Uniform(*ends), Masking(scale=scale, loss=loss)
    random = expected_fit(moment, cross, law, masking)
    ratio = effective_ratio(law, masking)
    second, _, first = mask_moments(law, masking)
    same = expected_fit(moment, cross, Fixed(ratio), Masking())
    # the law's fit is that of the fixed ratio up to a known factor, which is 1 without rescaling
    factor = 1.0 if scale == "none" else (1 - ratio) * first / second
    np.testing.assert_allclose(random, factor * same, rtol=1e-6, atol=1e-6 * np.abs(same).max())


def test_07_excess_of_a_random_ratio_with_many_samples(ar_task):
    gamma, law = 1e-5, Uniform(0.1, 0.8)
    covariance, target = ar_task.covariance, ar_task.target[:, 0]
    odds = law.nodes / (1 - law.nodes)
    mean = law.weights @ odds
    inverse = np.linalg.inv(covariance + mean * np.eye(120))
    predictor = inverse @ covariance @ target
    spread = law.weights @ odds**2 - mean**2
    expected = predictor @ predictor * np.trace(inverse @ covariance @ inverse) * spread / 120
    random = risk_equivalent(ar_task, [law], gamma, INV)
    same = risk_equivalent(ar_task, [Fixed(float(random.effective_ratio[0, 0]))], gamma, INV)
    assert (random.variance - same.variance)[0, 0] / gamma == pytest.approx(expected, rel=2e-3)


def test_08_when_a_little_masking_helps():
    rng = np.random.default_rng(6)
    agreed = []
    for _ in range(60):
        values = np.exp(rng.normal(0, rng.uniform(0.2, 1.5), 120))
        values /= values.mean()
        energies = rng.exponential(1, 120) * values ** rng.uniform(-1, 1)
        energies /= energies @ values
        noise, gamma = float(np.exp(rng.uniform(-4, 1.4))), rng.uniform(0.1, 0.9)
        task, h = spectral_task(values, energies, noise), np.mean(1 / values)
        for masking, helps in ((NONE, noise * (h - 2) > energies.sum()), (INV, noise * h > energies.sum())):
            none, little = risk_equivalent(task, [Fixed(0.0), Fixed(1e-6)], gamma, masking).excess[:, 0]
            agreed.append((little < none) == helps)
    assert sum(agreed) == len(agreed) == 120


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("num_masks", [1, 2, 4])
def test_09_peak_of_all_rows(ar_task, num_masks, ratio):
    gammas = num_masks * np.array([0.7, 0.97, 1.03, 1.4])
    far, near, beyond, farther = risk_equivalent(ar_task, [Fixed(ratio)], gammas, Masking(num_masks=num_masks)).excess[
        0
    ]
    assert near > 2 * far
    assert beyond > 2 * farther


def test_09_peak_of_masked_entries(ar_task):
    laws = [Fixed(p) for p in (0.28, 0.39, 0.41, 0.6)]
    far, near, beyond, farther = risk_equivalent(ar_task, laws, 0.4, Masking(loss="masked")).excess[:, 0]
    assert near > 2 * far
    assert beyond > 2 * farther


def designs(size, num_targets):
    rng = np.random.default_rng(0)
    free = rng.standard_normal((size, num_targets))
    share = size // 5
    latent = levels(size, (20.0, 1.0), (0.2, 1.0), 2)
    factors = np.linalg.eigh(latent)[1][:, -share:] @ rng.standard_normal((share, num_targets))
    ramp = np.diag(10 * np.arange(1.0, size + 1) ** -0.7) + 0.5 * ar1(size, 0.9)
    pairs = [
        (np.eye(size), free),
        (ar1(size, 0.8), free),
        (spiked(size, 5 / size, 15.0, 1), free),
        (latent, factors),
        (power_law(size, 1.0, 3), free),
        (ramp, free),
    ]
    return [linear_task(s, unit_targets(s, t), 0.5) for s, t in pairs]


GRID = [
    (NONE, [Fixed(0.0), Fixed(0.3), Fixed(0.7), Uniform(0.0, 0.9)]),
    (INV, [Uniform(0.2, 0.8)]),
    (Masking(num_masks=2), [Uniform(0.05, 0.9)]),
]


@pytest.mark.timeout(900)  # 20 seconds of computing, minutes on a busy machine
def test_10_theory_against_simulation():
    unmasked, masked = [], []
    for task in designs(400, 12):
        for gamma in (0.2, 0.5, 0.8, 1.25, 2.0, 5.0):
            for masking, laws in GRID:
                if masking.num_masks == gamma:
                    continue  # the peak
                theory = risk_equivalent(task, laws, gamma, masking)
                found = simulate(task, laws, gamma, masking, range(6))
                unmasked += (theory.excess[:, 0] / found.excess.mean(0) - 1).tolist()
                masked += (theory.on_masked(0.3)[:, 0] / found.on_masked(0.3).mean(0) - 1).tolist()
    size = np.abs(unmasked)
    assert len(size) == 210
    assert np.median(size) < 0.016
    assert np.quantile(size, 0.95) < 0.06
    assert size.max() < 0.12
    assert abs(np.mean(unmasked)) < 0.02
    assert np.median(np.abs(masked)) < 0.015


def test_11_error_falls_as_one_over_d():
    errors = []
    for size, repetitions in ((100, 400), (400, 60)):
        gaps = []
        for covariance in (np.eye(size), ar1(size, 0.8)):
            target = unit_targets(covariance, np.random.default_rng(size).standard_normal((size, 12)))
            task = linear_task(covariance, target, 0.5)
            for gamma, law in (
                (0.8, Fixed(0.7)),
                (2.0, Fixed(0.7)),
                (0.8, Uniform(0.0, 0.9)),
                (1.25, Uniform(0.0, 0.9)),
            ):
                found = simulate(task, [law], gamma, NONE, range(repetitions)).excess.mean()
                gaps.append(excess(task, law, gamma) / found - 1)
        errors.append(abs(np.mean(gaps)))
    assert errors[1] < 0.4 * errors[0]


def test_12_one_averaged_covariance_is_wrong_for_wide_laws():
    covariance = ar1(300, 0.8)
    target = np.random.default_rng(0).standard_normal(300) / np.sqrt(300)
    task = linear_task(covariance, target, 0.5)
    errors = {}
    for masking in (NONE, INV):
        for ends in ((0.2, 0.4), (0.0, 0.9), (0.5, 0.95)):
            second, penalty, first = mask_moments(Uniform(*ends), masking)
            for gamma in (0.2, 0.5, 0.8, 1.25, 2.0, 5.0):
                moments = (second, penalty, first)
                shortcut = one_covariance_risk(covariance, target, 0.5, 300 / gamma, moments)
                errors.setdefault(ends, []).append(abs(shortcut / excess(task, Uniform(*ends), gamma, masking) - 1))
    assert max(errors[0.2, 0.4]) < 0.02
    assert max(errors[0.0, 0.9]) > 0.15
    assert max(errors[0.5, 0.95]) > 0.15


def random_setting(rng, size=120):
    k = np.arange(1, size + 1)
    kind = rng.integers(3)
    if kind == 0:
        values = k ** -float(rng.choice([0.5, 1, 1.5]))
    elif kind == 1:
        values = np.where(k <= rng.choice([0.05, 0.2]) * size, float(rng.choice([20, 200])), 1.0)
    else:
        rho = rng.choice([0.5, 0.8, 0.95])
        values = (1 - rho**2) / (1 - 2 * rho * np.cos(np.pi * (k - 0.5) / size) + rho**2)
    values = values / values.mean()
    gamma = float(np.exp(rng.uniform(-2.5, 2)))
    while abs(gamma - 1) < 0.05:
        gamma = float(np.exp(rng.uniform(-2.5, 2)))
    noise = float(np.exp(rng.uniform(-4, 1.3)))
    masking = (NONE, INV)[rng.integers(2)]
    return spectral_task(values, values ** rng.choice([-1.0, 0.0, 1.0]), noise), gamma, masking


def test_13_no_uniform_law_wins_with_a_loss_on_all_rows():
    rng = np.random.default_rng(11)
    laws = uniform_grid(0.05)
    gaps = []
    for _ in range(40):
        task, gamma, masking = random_setting(rng)
        random = risk_equivalent(task, laws, gamma, masking).excess.min()
        gaps.append(random / best_fixed(task, gamma, masking)[1] - 1)
    assert min(gaps) > 0


def test_14_a_random_ratio_wins_with_a_loss_on_masked_entries():
    covariance = levels(200, (500.0, 20.0, 1.0), (0.02, 0.3, 1.0), 1)
    task = linear_task(covariance, aligned_targets(covariance, 1.0, seed=2), 1.0)
    masking, gamma = Masking(scale="inv", loss="masked"), 0.9
    theory = risk_equivalent(task, uniform_grid(0.05, 0.001), gamma, masking).excess.min()
    assert theory < 0.96 * best_fixed(task, gamma, masking)[1]
    fixed_laws = [Fixed(p) for p in (0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4)]
    random_laws = [Uniform(0.001, b) for b in (0.2, 0.3, 0.4, 0.5, 0.6)]
    chosen = []
    for laws in (fixed_laws, random_laws):
        chosen.append(laws[simulate(task, laws, gamma, masking, range(200)).excess.mean(0).argmin()])
    held_out = simulate(task, chosen, gamma, masking, range(1000, 1400)).excess
    difference = held_out[:, 1] - held_out[:, 0]
    assert held_out[:, 1].mean() < 0.985 * held_out[:, 0].mean()
    assert difference.mean() < -2 * difference.std(ddof=1) / np.sqrt(len(difference))


def test_15_a_random_ratio_wins_with_uncentred_inputs():
    covariance = unit_mean_variance(latent_factor(150, 20, 4.0))
    task = UncentredTask(covariance, positive_targets(covariance), np.full(150, 2.0), 1.0)
    grid = np.concatenate([np.arange(0, 0.1, 0.005), np.arange(0.1, 0.96, 0.05)])
    families = [
        ([Fixed(p) for p in grid.tolist()], "none"),
        ([Uniform(0.0, b) for b in np.arange(0.1, 0.96, 0.1).tolist()], "none"),
        ([Fixed(p) for p in np.arange(0.02, 0.5, 0.04).tolist()], "inv"),
    ]
    held_out = []
    for laws, scale in families:
        best = simulate_uncentred(task, laws, 0.9, scale, range(20)).mean(0).argmin()
        held_out.append(simulate_uncentred(task, [laws[best]], 0.9, scale, range(1000, 1040))[:, 0])
    best_ratio, random, rescaled = held_out
    difference = random - best_ratio
    assert random.mean() < 0.92 * best_ratio.mean()
    assert difference.mean() < -4 * difference.std(ddof=1) / np.sqrt(len(difference))
    assert rescaled.mean() < min(random.mean(), best_ratio.mean())
