import numpy as np
import pytest

from dnar2mae.errors import ConfigError
from dnar2mae.theory import (
    Choice,
    ConvergenceError,
    Fixed,
    Masking,
    Uniform,
    equivalents,
    linear_task,
    risk_equivalent,
    spectral_task,
)
from dnar2mae.theory.covariance import ar1, levels
from dnar2mae.theory.monte_carlo import simulate
from dnar2mae.theory.task import aligned_targets

SIZE = 200


@pytest.fixture(scope="module")
def task():
    covariance = ar1(SIZE, 0.8)
    return linear_task(covariance, aligned_targets(covariance, 0.0), 0.5)


@pytest.mark.parametrize("aspect", [0.5, 1.5])
@pytest.mark.parametrize(
    "masking",
    [
        Masking(num_masks=4),
        Masking(num_masks="inf"),
        Masking(num_masks="inf", loss="masked", scale="inv", ridge=0.1),
        Masking(num_masks=2, ridge=0.2, loss="masked-mean"),
        Masking(num_masks=8, loss="masked"),
    ],
    ids=repr,
)
def test_agrees_with_simulation(task, aspect, masking):
    laws = [Fixed(0.3), Uniform(0.1, 0.6)]
    theory = risk_equivalent(task, laws, aspect, masking)
    found = simulate(task, laws, aspect, masking, range(12))
    np.testing.assert_allclose(theory.excess[:, 0], found.excess.mean(0), rtol=0.1)
    np.testing.assert_allclose(theory.on_masked(0.4)[:, 0], found.on_masked(0.4).mean(0), rtol=0.1)


def test_many_masks_approach_every_mask(task):
    laws = [Fixed(0.4), Uniform(0.1, 0.6)]
    limit = risk_equivalent(task, laws, [0.5, 2.0], Masking(num_masks="inf")).excess
    gaps = [
        np.abs(risk_equivalent(task, laws, [0.5, 2.0], Masking(num_masks=m)).excess / limit - 1).max() for m in (8, 32)
    ]
    assert gaps[1] < gaps[0] / 3


def test_masks_of_nothing_are_copies(task):
    one = risk_equivalent(task, [Fixed(0.0)], [0.5, 2.0])
    three = risk_equivalent(task, [Fixed(0.0)], [0.5, 2.0], Masking(num_masks=3))
    np.testing.assert_array_equal(one.excess, three.excess)


def test_a_batch_is_its_parts(task):
    laws, aspects = [Fixed(0.1), Uniform(0.1, 0.5), Fixed(0.7), Choice((0.2, 0.4))], [0.3, 0.9, 3.0]
    together = risk_equivalent(task, laws, aspects).excess
    for i, law in enumerate(laws):
        for j, aspect in enumerate(aspects):
            assert risk_equivalent(task, [law], aspect).excess[0, 0] == pytest.approx(together[i, j], rel=1e-9)


def test_spectrum_is_enough_for_equal_variances(task):
    values, vectors = np.linalg.eigh(task.covariance)
    energies = ((vectors.T @ task.target) ** 2).mean(1)
    other = spectral_task(values, energies, 0.5)
    aspects = [0.4, 3.0]
    expected = risk_equivalent(task, [Uniform(0.1, 0.8)], aspects).excess
    np.testing.assert_allclose(risk_equivalent(other, [Uniform(0.1, 0.8)], aspects).excess, expected, rtol=1e-9)


def test_unequal_variances_above_the_threshold():
    covariance = levels(SIZE, (30.0, 1.0), (0.05, 0.95), 3) * np.linspace(0.5, 2, SIZE)[:, None]
    covariance = covariance * np.linspace(0.5, 2, SIZE)
    task = linear_task(covariance, np.random.default_rng(0).standard_normal((SIZE, 8)) / SIZE, 0.1)
    laws = [Fixed(0.2), Uniform(0.05, 0.6)]
    found = simulate(task, laws, 2.0, seeds=range(12)).excess.mean(0)
    np.testing.assert_allclose(risk_equivalent(task, laws, 2.0).excess[:, 0], found, rtol=0.1)


def test_infinite_at_the_peak(task):
    risk = risk_equivalent(task, [Fixed(0.3)], [1.0, 2.0], Masking(num_masks=2))
    assert np.isfinite(risk.excess[0, 0])
    assert risk.excess[0, 1] == risk.on_masked(0.0)[0, 1] == np.inf
    assert np.isfinite(risk_equivalent(task, [Fixed(0.3)], 1.0, Masking(ridge=0.1)).excess[0, 0])


def test_noise_enters_linearly(task):
    louder = linear_task(task.covariance, task.target, 3.0)
    quiet, loud = (risk_equivalent(t, [Fixed(0.3)], 0.7) for t in (task, louder))
    np.testing.assert_allclose(quiet.noiseless + 3.0 * quiet.visible_noise, loud.excess)
    np.testing.assert_allclose(quiet.on_masked(0.0), quiet.excess + 0.5)


def test_refuses_bad_input(task):
    with pytest.raises(ConfigError, match="aspect ratios d/n must be > 0 and finite, got 0"):
        risk_equivalent(task, [Fixed(0.3)], [1.5, 0.0])
    with pytest.raises(ConfigError, match="can mask every feature"):
        risk_equivalent(task, [Uniform(0.5, 1.0)], 0.5)
    with pytest.raises(ConfigError, match="needs mask ratios > 0, got fixed:0"):
        risk_equivalent(task, [Fixed(0.0)], 0.5, Masking(loss="masked"))
    with pytest.raises(ConfigError, match="ratio 0 cannot be mixed with others"):
        risk_equivalent(task, [Choice((0.0, 0.5))], 0.5, Masking(num_masks=2))
    one_hot = np.eye(4) - np.full((4, 4), 0.25)
    flat = linear_task(one_hot, np.array([1.0, -1.0, 0.0, 0.0]), 0.1)
    with pytest.raises(ConfigError, match="ratio 0 needs a positive definite covariance"):
        risk_equivalent(flat, [Fixed(0.0)], 0.5)
    assert np.isfinite(risk_equivalent(flat, [Fixed(0.01)], 0.5).excess[0, 0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": "out"}, "--scale must be none or inv, got out"),
        ({"loss": "all"}, "--loss must be rows, masked or masked-mean, got all"),
        ({"num_masks": 0}, r"--num-masks must be in 1..64, or inf, got 0"),
        ({"num_masks": 65}, r"--num-masks must be in 1..64, or inf, got 65"),
        ({"ridge": 0.0}, "--ridge must be > 0, got 0"),
    ],
)
def test_refuses_bad_masking(settings, message):
    masking = Masking()
    for name, value in settings.items():  # past the type checker, which would refuse some of them first
        object.__setattr__(masking, name, value)
    with pytest.raises(ConfigError, match=message):
        masking.__post_init__()


def test_refuses_bad_tasks():
    with pytest.raises(ConfigError, match="--noise must be >= 0"):
        linear_task(np.eye(3), np.ones(3), -1.0)
    with pytest.raises(ConfigError, match="the target must be 3 finite coefficients"):
        linear_task(np.eye(3), np.ones(4), 1.0)
    with pytest.raises(ConfigError, match="equally many numbers >= 0"):
        spectral_task(np.array([1.0, -1.0]), np.ones(2), 1.0)
    with pytest.raises(ConfigError, match="energy along some eigenvalue"):
        spectral_task(np.array([1.0, 0.0]), np.array([0.0, 1.0]), 1.0)
    with pytest.raises(ConfigError, match="--alignment must be >= 0 for a singular covariance"):
        aligned_targets(np.eye(3) - 1 / 3, -1.0)


def test_says_when_it_does_not_converge(task, monkeypatch):
    monkeypatch.setattr(equivalents, "_MAX_STEPS", 2)
    with pytest.raises(ConvergenceError, match="no fixed point after 2 steps"):
        risk_equivalent(task, [Fixed(0.3)], 0.9)


def test_simulation_refuses_repeated_seeds(task):
    with pytest.raises(ConfigError, match="seeds must differ, got 3 more than once"):
        simulate(task, [Fixed(0.1)], 0.5, seeds=(1, 3, 2, 3))
    with pytest.raises(ConfigError, match="one or more integers >= 0"):
        simulate(task, [Fixed(0.1)], 0.5, seeds=())
    with pytest.raises(ConfigError, match="not only a spectrum"):
        simulate(spectral_task(np.ones(5), np.ones(5), 0.1), [Fixed(0.1)], 0.5)


def test_simulation_pairs_laws_and_survives_empty_rows(task):
    found = simulate(task, [Fixed(0.0), Fixed(0.0), Fixed(0.98)], 5.0, seeds=range(2)).excess
    np.testing.assert_array_equal(found[:, 0], found[:, 1])
    assert np.all(np.isfinite(found))
    assert found[0, 0] != found[1, 0]
