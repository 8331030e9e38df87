"""Predictors that see how much is masked, against simulations and closed forms that share no code with them."""

from itertools import product

import numpy as np
import pytest

from dnar2mae.errors import ConfigError
from dnar2mae.mask_laws import Choice
from dnar2mae.theory import Fixed, Masking, Uniform, linear_task, risk_equivalent, spectral_task
from dnar2mae.theory.covariance import ar1
from dnar2mae.theory.options import FeatureModel
from dnar2mae.theory.phase import fixed_grid, lowest_risks, phase_map, uniform_grid
from dnar2mae.theory.regimes import RIDGES, every_mask_table, parse_test_ratios, regime_table
from dnar2mae.theory.regret import parse_laws, regrets
from dnar2mae.theory.task import aligned_targets
from dnar2mae.theory.uncentred import UncentredTask, positive_targets, uncentred_equivalent
from dnar2mae.theory.visible import effective_ridges, share_equivalent, share_moments
from dnar2mae.theory.visible_simulation import FittedPredictor, simulate_every_mask, simulate_few_masks
from tests.theory.oracle import fit_with_bits, simulate_share, simulate_uncentred

CLEAN = Fixed(0.0)
LAWS = [Fixed(0.3), Uniform(0.1, 0.9)]


@pytest.fixture(scope="module")
def task():
    covariance = ar1(120, 0.9)
    return linear_task(covariance, aligned_targets(covariance, 0.0), 0.5)


def excess(task, laws, aspect, *, sees_share, ridge=0.0, tests=(CLEAN,)):
    base, slope = share_equivalent(task, laws, aspect, sees_share=sees_share, ridges=[ridge], tests=tests)
    return (base + task.noise * slope)[:, 0, 0]


def test_moments_are_those_of_all_masks():
    law, size = Choice((0.2, 0.7)), 5
    masks = np.array(list(product((0.0, 1.0), repeat=size)))
    visible = masks.sum(1)[:, None]
    chance = ((1 - law.nodes) ** visible * law.nodes ** (size - visible)) @ law.weights
    found, k = share_moments([law], size, sees_share=True), masks.mean(1)
    for i, j in product(range(2), repeat=2):
        both = chance * k ** (i + j) * masks[:, 0]
        np.testing.assert_allclose(found.pairs[0, i, j], np.sum(both * masks[:, 1]), rtol=1e-12)
        np.testing.assert_allclose((found.pairs + found.own)[0, i, j], both.sum(), rtol=1e-12)
        np.testing.assert_allclose(found.first[0, i], np.sum(chance * k**i * masks[:, 0]), rtol=1e-12)


@pytest.mark.parametrize("num_samples", [10.0, 100.0])
def test_effective_ridges(num_samples):
    values, ridges = np.geomspace(0.01, 10, 50), np.geomspace(1e-6, 1e6, 13)
    kappa = effective_ridges(values, ridges, num_samples)
    shares = (values / (values + kappa[:, None])).sum(1) / num_samples
    np.testing.assert_allclose(kappa * (1 - shares), ridges, rtol=1e-6)
    many = effective_ridges(values, np.repeat(ridges, 200), num_samples)
    np.testing.assert_allclose(many, np.repeat(kappa, 200), rtol=1e-9)


@pytest.mark.parametrize("ridge", [0.01, 1.0])
@pytest.mark.parametrize("aspect", [0.4, 3.0])
def test_without_the_share_it_is_the_plain_predictor(task, aspect, ridge):
    known = risk_equivalent(task, LAWS, aspect, Masking(num_masks="inf", ridge=ridge))
    for test in (0.0, 0.6):
        found = excess(task, LAWS, aspect, sees_share=False, ridge=ridge, tests=[Fixed(test)])
        np.testing.assert_allclose(found[:, 0], known.on_masked(test)[:, 0] - task.noise, rtol=1e-8)


def test_a_share_that_does_not_vary_changes_the_penalty_alone():
    values = np.repeat(np.geomspace(0.1, 3, 100), 2000)
    large = spectral_task(values, np.ones_like(values), 0.5)
    law, ridge = Fixed(0.3), 0.2
    # of all b0 + q b1 = b, the smallest has the squared norm |b|^2 / (1 + q^2)
    plain = excess(large, [law], 2.0, sees_share=False, ridge=ridge / (1 + 0.7**2), tests=[law])
    np.testing.assert_allclose(excess(large, [law], 2.0, sees_share=True, ridge=ridge, tests=[law]), plain, rtol=1e-3)


def test_at_a_fixed_ratio_it_learns_the_tangent(task):
    test = [Fixed(0.0), Fixed(0.6)]
    fixed, narrow = excess(task, [Fixed(0.3), Uniform(0.299, 0.301)], 2.0, sees_share=True, tests=test)
    np.testing.assert_allclose(narrow, fixed, rtol=1e-3)
    plain = excess(task, [Fixed(0.3)], 2.0, sees_share=False, tests=test)[0]
    assert np.all(np.abs(plain / fixed - 1) > 0.1)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
@pytest.mark.parametrize(("ridge", "test_ratio"), [(0.0, 0.5), (0.1, 0.0)])
def test_drawn_masks_agree(law, ridge, test_ratio):
    covariance, aspect = ar1(40, 0.9), 0.4
    beta = aligned_targets(covariance, 0.0, 1)[:, 0]
    task = linear_task(covariance, beta, 0.5)
    found = [simulate_share(covariance, beta, 0.5, 100, law, ridge, test_ratio, seed) for seed in range(20)]
    theory = excess(task, [law], aspect, sees_share=True, ridge=ridge, tests=[Fixed(test_ratio)])[0, 0]
    assert theory == pytest.approx(np.mean(found), rel=0.1)
    known = [
        simulate_every_mask(task, [law], aspect, FittedPredictor("share", [ridge], [Fixed(test_ratio)]), seed)
        for seed in range(20)
    ]
    assert np.mean(known) == pytest.approx(np.mean(found), rel=0.1)


def test_few_masks_become_every_mask(task):
    fit = FittedPredictor("share", [0.1], [CLEAN, Fixed(0.5)])
    many = simulate_few_masks(task, LAWS, 4.0, fit, 0, num_masks=200)
    np.testing.assert_allclose(many, simulate_every_mask(task, LAWS, 4.0, fit, 0), rtol=0.05)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_with_bits_every_law_is_a_fixed_ratio(ridge):
    rng = np.random.default_rng(0)
    x, y, law = 2 + rng.standard_normal((9, 5)), rng.standard_normal(9), Choice((0.1, 0.4, 0.8))
    first, second = ((1 - law.nodes) ** power @ law.weights for power in (1, 2))
    same = Fixed(float(1 - second / first))
    random = fit_with_bits(x, y, law, ridge)
    # a penalty counts per unit of the expected loss, which the law scales by E[q]
    np.testing.assert_allclose(random, fit_with_bits(x, y, same, ridge * (1 - same.ratio) / first), rtol=1e-8)
    centred, shifted = x - x.mean(0), fit_with_bits(x - 5, y, law, ridge)
    moment = centred.T @ centred / len(x)
    matrix = second * moment + (first - second) * np.diag(np.diag(moment)) + ridge * np.eye(5)
    np.testing.assert_allclose(random, first * np.linalg.solve(matrix, centred.T @ y / len(x)), rtol=1e-8)
    np.testing.assert_allclose(random, shifted, rtol=1e-8)


@pytest.mark.parametrize("scale", ["none", "inv"])
def test_uncentred_inputs_masked_at_test_time(scale):
    covariance = ar1(80, 0.8)
    task = UncentredTask(covariance, positive_targets(covariance, 3), np.full(80, 1.5), 0.5)
    laws = [Fixed(0.3), Uniform(0.0, 0.8)]
    base, slope = uncentred_equivalent(task, laws, 0.8, scale, Fixed(0.5))
    found = simulate_uncentred(task, laws, 0.8, scale, range(30), 0.5).mean(0)
    np.testing.assert_allclose((base + task.noise * slope)[:, 0], found, rtol=0.06)


def search(table):
    aspects, noises = np.geomspace(0.2, 5, 5), np.geomspace(0.02, 5, 5)
    return phase_map(table, aspects, noises, fixed_grid(200, 1e-4), uniform_grid(0.1, 1e-4))


def test_where_a_random_ratio_wins():
    features, mean = FeatureModel(covariance="ar1:0.9", num_features=60), parse_test_ratios("0,0.25,0.5,0.75")
    assert not search(regime_table(features, "share-ridge", 2.0)).wins.any()
    assert not search(regime_table(features, "bits-ridge", 2.0, mean)).wins.any()
    assert search(regime_table(features, "share-ridge", 2.0, mean)).wins.mean() > 0.4


@pytest.mark.parametrize("test", ["0", "0,0.5"])
def test_a_tuned_ridge_is_exact_to_less_than_a_win(test):
    features = FeatureModel(covariance="levels:500x0.02,20x0.3,1x0.68", alignment=1.0, num_features=60)
    task, tested = features.task(1.0), parse_test_ratios(test)
    laws, aspects, noises = fixed_grid(40, 1e-4), np.array([0.2, 0.7, 2.0]), np.array([10.0, 1.6, 0.1])
    fine = (0.0, *np.geomspace(1e-5, 100, 897).tolist())
    usual, exact = (every_mask_table(task, some, tested, with_share=True)(laws, aspects) for some in (RIDGES, fine))
    for g in range(len(aspects)):
        found, lowest = (lowest_risks(base[:, g], slope[:, g], noises).min(0) for base, slope in (usual, exact))
        np.testing.assert_allclose(found, lowest, rtol=1e-3)


def test_means_are_in_standard_deviations():
    """Masks penalise each feature on its own scale, so that units do not matter where means go with them."""
    features = FeatureModel(covariance="latent:3,10", num_features=30, keep_variances=True)
    matrix = features.matrix()
    root = np.sqrt(np.diag(matrix))
    target = positive_targets(matrix, 4)
    scaled = UncentredTask(matrix / np.outer(root, root), target * root[:, None], np.full(30, 1.5), 1.0)
    for found, expected in zip(
        regime_table(features, "uncentred", 1.5)(LAWS, np.array([0.5, 2.0])),
        uncentred_equivalent(scaled, LAWS, [0.5, 2.0]),
        strict=True,
    ):
        np.testing.assert_allclose(found[..., 0, 0], expected, rtol=1e-6)


def test_test_ratios_are_averaged():
    features, aspects = FeatureModel(num_features=30), np.array([0.5, 2.0])
    for regime in ("rows", "rows-inv", "masked", "uncentred", "uncentred-inv", "share-ridge"):
        parts = [regime_table(features, regime, 1.0, Fixed(p))(LAWS, aspects) for p in (0.1, 0.6)]
        together = regime_table(features, regime, 1.0, parse_test_ratios("0.1,0.6"))(LAWS, aspects)
        for one, other, both in zip(*parts, together, strict=True):
            np.testing.assert_allclose((one + other) / 2, both, rtol=1e-6)


def test_regret(task):
    laws = [*parse_laws(["standard"]), Fixed(0.2)]
    rows = regrets(
        lambda test: every_mask_table(task, [0.1], test, with_share=True),
        parse_test_ratios("0,0.5"),
        np.array([0.5, 2.0]),
        np.array([0.5]),
        laws,
    )
    assert [row["law"] for row in rows] == [law.name for law in laws]
    assert all(0 <= row["mean_regret"] <= row["worst_regret"] for row in rows)
    assert max(row["worst_regret"] for row in rows) > 1


def test_refuses_bad_input(task):
    with pytest.raises(ConfigError, match="ridges must be >= 0, got -1"):
        share_equivalent(task, LAWS, 1.0, sees_share=True, ridges=[-1.0], tests=[CLEAN])
    with pytest.raises(ConfigError, match="needs ratios > 0 or a ridge"):
        share_equivalent(task, [CLEAN], 1.0, sees_share=True, tests=[CLEAN])
    with pytest.raises(ConfigError, match="can mask every feature"):
        share_moments([Uniform(0.5, 1.0)], 5, sees_share=False)
    with pytest.raises(ConfigError, match="simulated for the predictors plain and share"):
        simulate_few_masks(task, LAWS, 1.0, FittedPredictor("bits", [0.1], [CLEAN]), 0, num_masks=2)
    with pytest.raises(ConfigError, match="needs at least 3 features, got 2"):
        share_equivalent(spectral_task(np.ones(2), np.ones(2), 1.0), LAWS, 1.0, sees_share=True, tests=[CLEAN])
    spectrum = spectral_task(np.ones(4), np.ones(4), 1.0)
    with pytest.raises(ConfigError, match="needs the covariance and the target"):
        simulate_every_mask(spectrum, LAWS, 1.0, FittedPredictor("share", [0.1], [CLEAN]), 0)
    for text in ("0,1", "a", "uniform:0,1", "uniform:0.9,0.1"):
        with pytest.raises(ConfigError, match="--test-ratios must be ratios"):
            parse_test_ratios(text)
