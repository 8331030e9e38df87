r"""Inputs that are not centred, with an intercept that is never masked, under very many masks per sample.

x = mu + x0, x0 ~ N(0, S), y = x0'beta + noise. With Sc the sample covariance of x, the intercept follows
from b and b minimises a ridge loss

    E[q^2] b'Sc b - 2 E[q] b'c + b' (Var[q] mean mean' + E[p q] diag(S + mean mean')) b

(q = 1, p q = p / q for rescaled inputs). A random ratio alone has the term Var[q]: it penalises the mean
direction. If nothing is masked at test time, predictions without rescaling are off by E[p] mu'b. Both meet in

    R = (b - beta)'S(b - beta) + (E[p] mu'b)^2    (without the second term for rescaled inputs),

whose deterministic equivalent is that of generalised ridge regression with a known penalty matrix K,
Q = (A S + K)^{-1}, 1 / A = 1 + tr SQ / n.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from dnar2mae.errors import ConfigError
from dnar2mae.mask_laws import MaskLaw
from dnar2mae.theory.covariance import check_covariance
from dnar2mae.theory.equivalents import Aspects, aspect_array
from dnar2mae.theory.monte_carlo import mask_moments
from dnar2mae.theory.options import Masking
from dnar2mae.theory.rows import require_visible
from dnar2mae.theory.shapes import Matrix, PerLaw, Targets

# the penalty matrix must stay invertible as the ratio goes to 0
_SMALLEST_PENALTY = 1e-9
# they divide 37, the length of the interval of log A, down to 2e-12
_BISECTIONS = 44


@dataclass(frozen=True, eq=False)
class UncentredTask:
    """A regression task whose features have means."""

    covariance: Float[np.ndarray, "..."]
    """S, shape (d, d)."""
    target: Float[np.ndarray, "..."]
    """beta, one column a target, shape (d, K)."""
    mean: Float[np.ndarray, "..."]
    """mu, shape (d,)."""
    noise: float
    """Noise variance sigma^2, >= 0."""

    def __post_init__(self) -> None:
        """Check shapes."""
        size = len(check_covariance(self.covariance))
        if self.target.ndim != 2 or len(self.target) != size or self.mean.shape != (size,):
            shapes = f"{self.target.shape} and {self.mean.shape}"
            raise ConfigError(f"target and mean must have the shapes ({size}, K) and ({size},), got {shapes}")
        if not self.noise >= 0:
            raise ConfigError(f"--noise must be >= 0 and finite, got {self.noise:g}")


def positive_targets(covariance: Matrix, num_targets: int = 1, seed: int = 0) -> Targets:
    """Draw targets with positive coefficients and beta'S beta = 1: they feel the inputs' mean most."""
    beta = np.abs(np.random.default_rng(seed).standard_normal((len(covariance), num_targets)))
    return beta / np.sqrt(np.sum(beta * (covariance @ beta), axis=0))


def uncentred_equivalent(
    task: UncentredTask,
    laws: Sequence[MaskLaw],
    aspects: Aspects,
    scale: Literal["none", "inv"] = "none",
    test: MaskLaw | None = None,
) -> tuple[PerLaw, PerLaw]:
    """Compute the deterministic equivalent of the excess risk.

    Parameters
    ----------
    task
        Covariance, mean and target.
    laws
        L laws; ratio 0 stands for its limit from above.
    aspects
        G aspect ratios d / n > 0.
    scale
        Visible inputs as they are (none) or divided by 1 - p (inv), at test time as well.
    test
        Law of the ratio at test time; by default nothing is masked.

    Returns
    -------
    tuple
        The excess risk without noise, and what each unit of noise variance adds to it.

    Raises
    ------
    ConfigError
        If a law can mask every feature or an aspect ratio is not positive.
    """
    ratios = aspect_array(aspects)
    tested = mask_moments(test, Masking(scale=scale)) if test else (1.0, 0.0, 1.0)
    parts = np.array([_one_law(task, law, len(task.mean) / ratios, scale, tested) for law in laws])
    return parts[:, 0], parts[:, 1]


def _one_law(
    task: UncentredTask,
    law: MaskLaw,
    num_samples: Float[np.ndarray, " G"],
    scale: Literal["none", "inv"],
    tested: tuple[float, float, float],
) -> Float[np.ndarray, "2 G"]:
    require_visible(law)
    second, penalty, first = mask_moments(law, Masking(scale=scale))
    gain, penalty, varied = first / second, max(penalty, _SMALLEST_PENALTY), second - first**2
    k = np.diag(penalty * (np.diag(task.covariance) + task.mean**2))
    k = (k + varied * np.outer(task.mean, task.mean)) / second
    # a test error in the basis where K = I: a multiple of S, one of I, and one of the square of mu'b
    own = tested[1] * second / penalty
    level = tested[0] - 2 * first * tested[2] + first**2 - tested[1] * varied / penalty
    lower = np.linalg.cholesky(k)
    left = np.linalg.solve(lower, np.column_stack([task.mean, task.covariance @ task.target]))
    nu, vectors = np.linalg.eigh(np.linalg.solve(lower, np.linalg.solve(lower, task.covariance).T))
    nu = np.maximum(nu, 0)
    mean, image = (vectors.T @ left)[:, 0], (vectors.T @ left)[:, 1:]
    a = _visible_weight(nu, num_samples)
    q = 1 / (np.multiply.outer(a, nu) + 1)
    energy = (image**2).mean(1)
    signal = float(np.sum(task.target * (task.covariance @ task.target), axis=0).mean())
    overlap, visible = gain * a * (q @ energy), (gain * a) ** 2 * (q**2 @ (nu * energy))
    shift = level * (gain * a) ** 2 * ((q @ (mean[:, None] * image)) ** 2).mean(1)
    shift = shift + own * (gain * a) ** 2 * (q**2 @ energy)
    reach = (q**2 @ (nu * (tested[0] * nu + own + level * mean**2))) / num_samples
    feedback = a**2 * (q**2 @ nu**2) / num_samples
    factor = a**2 * reach / (1 - feedback)
    bias = tested[0] * visible - 2 * tested[2] * overlap + signal + shift
    explained = gain**2 * signal - 2 * gain * overlap + visible
    return np.stack([bias + factor * explained, factor * gain**2])


def _visible_weight(nu: Float[np.ndarray, " d"], num_samples: Float[np.ndarray, " G"]) -> Float[np.ndarray, " G"]:
    """Solve 1 / A = 1 + sum nu / (A nu + 1) / n for A in (0, 1), by bisection of log A."""
    low, high = np.full(len(num_samples), np.log(1e-16)), np.zeros(len(num_samples))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        a = np.exp(middle)
        used = a + np.sum(1 - 1 / (np.multiply.outer(a, nu) + 1), axis=1) / num_samples
        low, high = np.where(used < 1, middle, low), np.where(used < 1, high, middle)
    return np.exp((low + high) / 2)
