import numpy as np
import pytest

from dnar2mae.errors import ConfigError
from dnar2mae.theory.covariance import (
    ar1,
    check_covariance,
    correlation,
    latent_factor,
    levels,
    parse_covariance,
)

SPECS = ["isotropic", "ar1:0.8", "power:1", "spiked:0.1,20", "levels:50x0.1,5x0.3,1x0.6", "latent:4,3"]


@pytest.mark.parametrize("spec", SPECS)
def test_families_are_covariances_of_mean_variance_one(spec):
    matrix = parse_covariance(spec, 40)
    assert matrix.shape == (40, 40)
    assert np.diag(matrix).mean() == pytest.approx(1)
    np.testing.assert_allclose(check_covariance(matrix), matrix, atol=1e-14)
    np.testing.assert_array_equal(matrix, parse_covariance(spec, 40))


def test_levels_have_their_shares():
    values = np.linalg.eigvalsh(levels(40, (20.0, 1.0), (0.1, 0.9)))
    np.testing.assert_allclose(values[-4:] / values[0], 20)
    np.testing.assert_allclose(values[:-4], values[0])


def test_correlation_has_unit_variances():
    matrix = correlation(parse_covariance("latent:3,5", 30))
    np.testing.assert_array_equal(np.diag(matrix), 1)
    assert np.abs(matrix).max() <= 1


def test_your_own_file(tmp_path):
    np.save(tmp_path / "s.npy", ar1(12, 0.5))
    np.testing.assert_array_equal(parse_covariance(str(tmp_path / "s.npy"), 99), ar1(12, 0.5))


def broken(change):
    matrix = ar1(6, 0.5)
    change(matrix)
    return matrix


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones((3, 4)), "square"),
        (np.ones((1, 1)), "at least 2 features"),
        (broken(lambda m: m.__setitem__((0, 1), 0.9)), "symmetric"),
        (broken(lambda m: m.__setitem__((0, 0), np.nan)), "finite"),
        (broken(lambda m: m.__setitem__((2, 2), 0.0)), "positive diagonal"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), "positive semi-definite"),
    ],
)
def test_refuses_what_is_no_covariance(matrix, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        check_covariance(matrix)
    np.save(tmp_path / "s.npy", matrix)
    with pytest.raises(ConfigError, match=message):
        parse_covariance(str(tmp_path / "s.npy"), 6)


@pytest.mark.parametrize(
    "spec", ["", "ar1", "ar1:x", "ar2:0.5", "ar1:0.5,0.5", "levels:", "levels:3", "spiked:0.1", "isotropic:1"]
)
def test_refuses_unknown_names(spec):
    with pytest.raises(ConfigError, match="--covariance must be isotropic, ar1:CORRELATION"):
        parse_covariance(spec, 10)


def test_refuses_bad_numbers(tmp_path):
    with pytest.raises(ConfigError, match=r"ar1 must be in \(-1, 1\), got 1"):
        parse_covariance("ar1:1", 10)
    with pytest.raises(ConfigError, match="no direction for the last level"):
        levels(4, (2.0, 1.0), (1.0, 1.0))
    with pytest.raises(ConfigError, match="values >= 0 with a share > 0"):
        levels(4, (2.0, -1.0), (0.5, 0.5))
    with pytest.raises(ConfigError, match="1 factor or more"):
        latent_factor(4, 0, 1.0)
    with pytest.raises(ConfigError, match="--num-features must be at least 2, got 1"):
        parse_covariance("isotropic", 1)
    with pytest.raises(ConfigError, match="cannot be read"):
        parse_covariance(str(tmp_path / "none.npy"), 10)
    np.save(tmp_path / "text.npy", np.array(["a"]))
    with pytest.raises(ConfigError, match="one array of real numbers"):
        parse_covariance(str(tmp_path / "text.npy"), 10)
