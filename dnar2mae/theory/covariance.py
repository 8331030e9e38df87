"""Feature covariances: the usual families, and a check of your own.

Every family has mean variance 1, so that signal and noise mean the same in all of them.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Num

from dnar2mae.errors import ConfigError, raising
from dnar2mae.storage.remote import local_path
from dnar2mae.theory.shapes import Matrix

SYMMETRY_TOLERANCE = 1e-8
"""Largest asymmetry, and most negative eigenvalue, taken for rounding (relative to the largest entry)."""


def isotropic(num_features: int) -> Matrix:
    """Return the identity: uncorrelated features of equal variance."""
    return np.eye(num_features)


def ar1(num_features: int, correlation: float) -> Matrix:
    """Return the autoregressive covariance ``S_ij = correlation ** |i - j|``, with correlation in (-1, 1).

    Raises
    ------
    ConfigError
        If the correlation is not in (-1, 1).
    """
    if not -1 < correlation < 1:
        raise ConfigError(f"the correlation of ar1 must be in (-1, 1), got {correlation:g}")
    index = np.arange(num_features)
    return correlation ** np.abs(index[:, None] - index[None]).astype(float)


def power_law(num_features: int, exponent: float, seed: int = 0) -> Matrix:
    """Build a spectrum of eigenvalues proportional to ``k ** -exponent``, with uniformly random eigenvectors."""
    return rotated(np.arange(1.0, num_features + 1) ** -exponent, seed)


def levels(num_features: int, values: tuple[float, ...], shares: tuple[float, ...], seed: int = 0) -> Matrix:
    """Build a spectrum of a few flat levels, with uniformly random eigenvectors.

    Parameters
    ----------
    num_features
        Number of features d.
    values
        Eigenvalue of each level, >= 0, up to one common factor.
    shares
        Share of the d directions in each level, > 0; each is rounded to at least one direction and the last
        level takes what is left.
    seed
        Seed of the eigenvectors.

    Raises
    ------
    ConfigError
        If a value is negative, a share is not positive, or the levels need more than d directions.
    """
    if len(values) != len(shares) or min(values) < 0 or min(shares) <= 0 or max(values) == 0:
        raise ConfigError(f"levels must be values >= 0 with a share > 0 each, got {values} and {shares}")
    counts = [max(1, round(share * num_features)) for share in shares[:-1]]
    counts.append(num_features - sum(counts))
    if counts[-1] < 1:
        raise ConfigError(f"the shares {shares} leave no direction for the last level (d = {num_features})")
    return rotated(np.repeat(np.asarray(values, float), counts), seed)


def spiked(num_features: int, share: float, ratio: float, seed: int = 0) -> Matrix:
    """Build a covariance in which a share of the directions has ``ratio`` times the variance of the others."""
    return levels(num_features, (ratio, 1.0), (share, 1.0), seed)


def latent_factor(num_features: int, num_factors: int, strength: float, seed: int = 0) -> Matrix:
    """Build the factor model ``x = F f + e``: Gaussian loadings, factor variance ``strength`` times that of the noise.

    Raises
    ------
    ConfigError
        If there is no factor or the strength is negative.
    """
    if num_factors < 1 or strength < 0:
        raise ConfigError(
            f"a latent covariance needs 1 factor or more and a strength >= 0, got {num_factors}, {strength:g}"
        )
    loadings = np.random.default_rng(seed).standard_normal((num_features, num_factors))
    return unit_mean_variance(strength / num_factors * loadings @ loadings.T + np.eye(num_features))


def rotated(eigenvalues: Float[np.ndarray, " d"], seed: int) -> Matrix:
    """Rotate eigenvalues (scaled to mean 1) into uniformly random eigenvectors."""
    size = len(eigenvalues)
    basis, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))
    return _symmetric((basis * (eigenvalues / eigenvalues.mean())) @ basis.T)


def unit_mean_variance(covariance: Matrix) -> Matrix:
    """Scale a covariance to mean variance 1."""
    return covariance / np.diag(covariance).mean()


def correlation(covariance: Matrix) -> Matrix:
    """Scale every feature to variance 1, as data are standardised before training."""
    scale = 1 / np.sqrt(np.diag(covariance))
    # without rounding: symmetric, and 1 on the diagonal
    result = _symmetric(covariance * scale[:, None] * scale[None])
    np.fill_diagonal(result, 1.0)
    return result


def check_covariance(covariance: Num[np.ndarray, "..."], name: str = "the covariance") -> Matrix:
    """Return a covariance as symmetric float64, or raise an error that says what is wrong with it.

    Parameters
    ----------
    covariance
        Any numeric array.
    name
        Its name in messages.

    Raises
    ------
    ConfigError
        If it is not a square, finite, symmetric, positive semi-definite matrix with positive diagonal.
    """
    matrix = np.asarray(covariance, float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] < 2:
        raise ConfigError(f"{name} must be a square matrix of at least 2 features, got shape {matrix.shape}")
    if not np.all(np.isfinite(matrix)):
        raise ConfigError(f"{name} must be finite, got {np.sum(~np.isfinite(matrix))} other entries")
    largest = np.abs(matrix).max()
    gap = np.abs(matrix - matrix.T).max()
    if gap > SYMMETRY_TOLERANCE * largest:
        raise ConfigError(f"{name} must be symmetric, got entries that differ by {gap:.3g}")
    variance = np.diag(matrix).min()
    if variance <= 0:
        raise ConfigError(f"{name} must have a positive diagonal, got {variance:.3g} at {np.diag(matrix).argmin()}")
    matrix = _symmetric(matrix)
    lowest = np.linalg.eigvalsh(matrix)[0]
    if lowest < -SYMMETRY_TOLERANCE * largest * len(matrix):
        raise ConfigError(f"{name} must be positive semi-definite, got the eigenvalue {lowest:.3g}")
    return matrix


def parse_covariance(spec: str, num_features: int, seed: int = 0) -> Matrix:
    """Read a covariance from its name.

    Parameters
    ----------
    spec
        ``isotropic``, ``ar1:CORRELATION``, ``power:EXPONENT``, ``spiked:SHARE,RATIO``,
        ``levels:VALUExSHARE,VALUExSHARE,...``, ``latent:FACTORS,STRENGTH``, or the path of an ``.npy`` file.
    num_features
        Number of features; a file brings its own.
    seed
        Seed of random eigenvectors or loadings.

    Raises
    ------
    ConfigError
        If the name is unknown, its numbers cannot be read, or the file does not hold a covariance.
    """
    if spec.endswith(".npy"):
        return load_covariance(Path(spec))
    if num_features < 2:
        raise ConfigError(f"--num-features must be at least 2, got {num_features}")
    name, _, rest = spec.partition(":")
    try:
        numbers = [tuple(float(v) for v in part.split("x")) for part in rest.split(",") if part]
    except ValueError:
        numbers = []
    matrix = _family(name, numbers, num_features, seed)
    if matrix is None:
        raise ConfigError(
            "--covariance must be isotropic, ar1:CORRELATION, power:EXPONENT, spiked:SHARE,RATIO, "
            f"levels:VALUExSHARE,..., latent:FACTORS,STRENGTH or a .npy file, got {spec}"
        )
    return matrix


def _family(name: str, numbers: list[tuple[float, ...]], num_features: int, seed: int) -> Matrix | None:
    matrix = None
    match name, [len(n) for n in numbers]:
        case "isotropic", []:
            matrix = isotropic(num_features)
        case "ar1", [1]:
            matrix = ar1(num_features, numbers[0][0])
        case "power", [1]:
            matrix = power_law(num_features, numbers[0][0], seed)
        case "spiked", [1, 1]:
            matrix = spiked(num_features, numbers[0][0], numbers[1][0], seed)
        case "latent", [1, 1]:
            matrix = latent_factor(num_features, int(numbers[0][0]), numbers[1][0], seed)
        case "levels", [2, *more] if set(more) <= {2}:
            values, shares = zip(*numbers, strict=True)
            matrix = levels(num_features, values, shares, seed)
    return matrix


def load_covariance(path: Path, flag: str = "--covariance") -> Matrix:
    """Read a covariance from an ``.npy`` file; ``flag`` is its name in messages.

    Raises
    ------
    ConfigError
        If the file cannot be read or does not hold a covariance.
    """
    with raising(ConfigError, f"{flag} {path} cannot be read", OSError, ValueError):
        matrix = np.load(local_path(path), allow_pickle=False)
    if not isinstance(matrix, np.ndarray) or matrix.dtype.kind not in "iuf":
        raise ConfigError(f"{flag} {path} must hold one array of real numbers")
    return check_covariance(matrix, f"{flag} {path}")


def _symmetric(matrix: Matrix) -> Matrix:
    return (matrix + matrix.T) / 2
