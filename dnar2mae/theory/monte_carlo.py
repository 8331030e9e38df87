"""The same regressions on random samples, to put points on the theory's curves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dnar2mae.errors import ConfigError
from dnar2mae.mask_laws import MaskLaw
from dnar2mae.theory.equivalents import masked_test_error
from dnar2mae.theory.options import Masking
from dnar2mae.theory.rows import group_rows, row_triples
from dnar2mae.theory.shapes import Matrix, Targets
from dnar2mae.theory.task import Task

# relative ridge under which a least-squares fit counts as one of smallest norm
_JITTER = 1e-11


@dataclass(frozen=True, eq=False)
class Simulation:
    """Test errors of fitted predictors (exact given the predictor), averaged over targets.

    Every array has the shape (seeds, laws).
    """

    noise: float
    """Noise variance of the task."""
    signal: float
    """beta'S beta."""
    overlap: Float[np.ndarray, "R L"]
    """beta'S b."""
    visible: Float[np.ndarray, "R L"]
    """b'S b."""
    masked: Float[np.ndarray, "R L"]
    """b'D b."""

    @property
    def excess(self) -> Float[np.ndarray, "R L"]:
        """E (x'b - x'beta)^2 on unmasked inputs."""
        return self.visible - 2 * self.overlap + self.signal

    def on_masked(self, ratio: float) -> Float[np.ndarray, "R L"]:
        """Return the mean squared error on test inputs masked at a fixed ratio, the target's noise included."""
        return masked_test_error(ratio, self.visible, self.masked, self.overlap, self.signal + self.noise)


def simulate(
    task: Task, laws: Sequence[MaskLaw], aspect: float, masking: Masking | None = None, seeds: Sequence[int] = (0,)
) -> Simulation:
    """Draw samples, mask them, fit, and measure the risk.

    Parameters
    ----------
    task
        A task with a covariance and targets.
    laws
        L laws; all of them see the same samples.
    aspect
        d / n; the number of samples is rounded.
    masking
        As in :func:`dnar2mae.theory.equivalents.risk_equivalent`.
    seeds
        One for each repetition; all different.

    Returns
    -------
    Simulation
        Arrays of shape (seeds, L).

    Raises
    ------
    ConfigError
        If seeds repeat, the task is known by its spectrum only, or a law does not suit the masking.
    """
    masking = masking or Masking()
    check_seeds(seeds)
    if task.covariance is None or task.target is None:
        raise ConfigError("a simulation needs the covariance and the target, not only a spectrum")
    # raises an error if a law does not suit the masking
    list(group_rows(laws, masking))
    covariance, target = task.covariance, task.target
    num_samples = max(1, round(task.num_features / aspect))
    root = square_root(covariance)
    image = covariance @ target
    forms = np.empty((3, len(seeds), len(laws)))
    for i, seed in enumerate(seeds):
        # stream 0 draws the samples, the same for all laws, and stream 1 + j the masks of law j
        rng = np.random.default_rng([seed, 0])
        x = rng.standard_normal((num_samples, len(root))) @ root
        y = x @ target + np.sqrt(task.noise) * rng.standard_normal((num_samples, target.shape[1]))
        for j, law in enumerate(laws):
            b = _fit_law(x, y, law, masking, np.random.default_rng([seed, 1 + j]))
            d = np.diag(covariance)[:, None]
            forms[:, i, j] = [f.sum(0).mean() for f in (image * b, b * (covariance @ b), d * b**2)]
    return Simulation(task.noise, task.signal_variance, *forms)


def minimum_norm(rows: Float[np.ndarray, "N d"], y: Float[np.ndarray, "N K"]) -> Targets:
    """Fit least-squares predictors of smallest norm, by the smaller Gram matrix.

    A ridge of 1e-11 of its mean diagonal makes it regular where rows or features have nothing visible.
    """
    wide = len(rows) < rows.shape[1]
    gram = rows @ rows.T if wide else rows.T @ rows
    np.fill_diagonal(gram, np.diag(gram) + _JITTER * max(np.trace(gram) / max(len(gram), 1), _JITTER))
    return rows.T @ np.linalg.solve(gram, y) if wide else np.linalg.solve(gram, rows.T @ y)


def expected_fit(second_moment: Matrix, cross_moment: Targets, law: MaskLaw, masking: Masking) -> Targets:
    """Fit under the full expectation over masks.

    Minimises E_masks (y - w'b)^2 for a sample (or population) with moments X'X/n and X'y/n: the solution of
    (E[q^2] X'X/n + E[b] diag(X'X/n) + lambda I) b = E[q y] X'y/n.
    """
    second, penalty, first = mask_moments(law, masking)
    matrix = second * second_moment + np.diag(penalty * np.diag(second_moment) + (masking.ridge or 0.0))
    return first * np.linalg.solve(matrix, cross_moment)


def mask_moments(law: MaskLaw, masking: Masking) -> tuple[float, float, float]:
    """Return E q^2, E b and E q y over the rows of a sample; see :mod:`dnar2mae.theory.rows`."""
    q, b, y, present = row_triples(law.nodes, masking)
    weight = law.weights * present
    return float(weight @ q**2), float(weight @ b), float(weight @ (q * y))


def square_root(covariance: Matrix) -> Matrix:
    """Find a matrix R with R'R = S, for singular S too."""
    values, vectors = np.linalg.eigh(covariance)
    # rounding may put eigenvalues of a singular S below 0
    return (vectors * np.sqrt(np.maximum(values, 0))).T


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise an error for seeds that repeat: their repetitions would be copies.

    Raises
    ------
    ConfigError
        If there is no seed, one is negative, or two are equal.
    """
    if not len(seeds) or min(seeds) < 0:
        raise ConfigError(f"seeds must be one or more integers >= 0, got {tuple(seeds)}")
    repeated = sorted({s for s in seeds if list(seeds).count(s) > 1})
    if repeated:
        raise ConfigError(f"seeds must differ, got {repeated[0]} more than once")


def masked_rows(
    x: Float[np.ndarray, "N d"], law: MaskLaw, scale: str, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "N d"], Float[np.ndarray, " N"]]:
    """Mask each sample once, and return the rows and their ratios."""
    ratios = law.sample(len(x), rng)
    rows = x * (rng.random(x.shape, dtype=np.float32) >= ratios[:, None])
    return (rows / (1 - ratios[:, None]) if scale == "inv" else rows), ratios


def _fit_law(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n K"], law: MaskLaw, masking: Masking, rng: np.random.Generator
) -> Targets:
    # unmasked rows of a sample are equal: one of them gives the same fit
    num_masks = 1 if not law.nodes.any() else masking.num_masks
    if num_masks == "inf":
        return expected_fit(x.T @ x / len(x), x.T @ y / len(x), law, masking)
    rows, targets = [], []
    for _ in range(num_masks):
        w, ratios = masked_rows(x, law, masking.scale, rng)
        keep = np.ones(len(x), bool) if masking.loss == "rows" else rng.random(len(x)) < ratios
        # a row counts when the target's own feature is masked; its weight 1/p multiplies a square
        weight = 1 / np.sqrt(ratios[keep, None]) if masking.loss == "masked-mean" else 1.0
        rows.append(weight * w[keep])
        targets.append(weight * y[keep])
    all_rows, all_targets = np.concatenate(rows), np.concatenate(targets)
    if masking.ridge is None:
        return minimum_norm(all_rows, all_targets)
    penalty = masking.ridge * len(x) * num_masks
    gram = all_rows.T @ all_rows + penalty * np.eye(x.shape[1])
    return np.linalg.solve(gram, all_rows.T @ all_targets)
