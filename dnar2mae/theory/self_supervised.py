"""Masked autoencoding in the linear model: features predict each other, then a probe reads the code.

A linear autoencoder trained on masked entries splits into one regression a feature: x_j on the masked
others, with beta = S_{-j,-j}^{-1} S_{-j,j} and noise 1 / (S^{-1})_jj. A sample is a row of it only when j
itself is masked.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dnar2mae.errors import ConfigError
from dnar2mae.mask_laws import MaskLaw
from dnar2mae.theory.covariance import check_covariance
from dnar2mae.theory.equivalents import Aspects, aspect_array, masked_test_error, risk_equivalent
from dnar2mae.theory.monte_carlo import check_seeds, mask_moments, masked_rows, minimum_norm, square_root
from dnar2mae.theory.options import Masking
from dnar2mae.theory.rows import group_rows
from dnar2mae.theory.shapes import Matrix, PerLaw
from dnar2mae.theory.task import Task, linear_task


def coordinate_task(covariance: Matrix, feature: int) -> Task:
    """Make the regression of one feature on the others.

    Raises
    ------
    ConfigError
        If the matrix is not a covariance, or there is no such feature.
    """
    matrix = check_covariance(covariance)
    if not 0 <= feature < len(matrix):
        raise ConfigError(f"the feature must be in 0..{len(matrix) - 1}, got {feature}")
    others = np.arange(len(matrix)) != feature
    block, column = matrix[np.ix_(others, others)], matrix[others, feature]
    beta = np.linalg.lstsq(block, column)[0]
    return linear_task(block, beta, max(float(matrix[feature, feature] - column @ beta), 0.0))


def reconstruction_equivalent(
    covariance: Matrix,
    laws: Sequence[MaskLaw],
    aspects: Aspects,
    masking: Masking | None = None,
    *,
    test_ratio: float = 0.0,
) -> PerLaw:
    """Compute the deterministic equivalent of a linear masked autoencoder's error on a masked feature.

    Parameters
    ----------
    covariance
        S.
    laws, aspects
        As in :func:`dnar2mae.theory.equivalents.risk_equivalent`.
    masking
        By default one mask per sample, loss on masked entries.
    test_ratio
        Mask ratio of the other features at test time, in [0, 1).

    Returns
    -------
    PerLaw
        Mean squared error; the noise that no predictor removes is included.

    Raises
    ------
    ConfigError
        As :func:`coordinate_task` and ``risk_equivalent``.
    """
    masking = masking or Masking(loss="masked")
    size = len(covariance)
    chosen = np.linspace(0, size - 1, min(size, 12)).astype(int).tolist()  # features to average over
    others = aspect_array(aspects) * (size - 1) / size
    tasks = [coordinate_task(covariance, j) for j in chosen]
    return np.mean([risk_equivalent(t, laws, others, masking).on_masked(test_ratio) for t in tasks], axis=0)


@dataclass(frozen=True, eq=False)
class AutoencoderSimulation:
    """Errors of fitted linear masked autoencoders; shape (seeds, laws)."""

    reconstruction: Float[np.ndarray, "R L"]
    """Mean squared error on one masked feature, averaged over features."""
    probe: Float[np.ndarray, "R L"]
    """Share of the variance of the leading principal components that a linear probe of the code misses, in
    [0, 1]."""


def simulate_autoencoder(
    covariance: Matrix,
    laws: Sequence[MaskLaw],
    aspect: float,
    masking: Masking | None = None,
    *,
    rank: int = 6,
    test_ratio: float = 0.0,
    seeds: Sequence[int] = (0,),
) -> AutoencoderSimulation:
    """Train linear masked autoencoders and probe them.

    The code is the projection of x on the ``rank`` leading left singular vectors of the trained map; the
    probe regresses the ``rank`` leading principal components of x on it, on the population.

    Parameters
    ----------
    covariance
        S.
    laws
        L laws; all of them see the same samples.
    aspect
        d / n.
    masking
        By default one mask per sample, loss on masked entries. No ridge.
    rank
        Size of the code, in 1..d.
    test_ratio
        Mask ratio of the other features at test time, in [0, 1).
    seeds
        One for each repetition; all different.

    Raises
    ------
    ConfigError
        If seeds repeat, the rank is out of range, or the masking is not one of an autoencoder.
    """
    masking = masking or Masking(loss="masked")
    matrix = check_covariance(covariance)
    check_seeds(seeds)
    if not 1 <= rank <= len(matrix):
        raise ConfigError(f"--rank must be in 1..{len(matrix)}, got {rank}")
    if masking.ridge is not None or masking.loss == "rows":
        raise ConfigError("an autoencoder is fitted without a ridge, with a loss on masked entries")
    # raises an error if a law does not suit the masking
    list(group_rows(laws, masking))
    root, leading = square_root(matrix), np.linalg.eigh(matrix)[1][:, -rank:]
    out = np.empty((2, len(seeds), len(laws)))
    for i, seed in enumerate(seeds):
        rng = np.random.default_rng([seed, 0])
        x = rng.standard_normal((max(2, round(len(matrix) / aspect)), len(matrix))) @ root
        for j, law in enumerate(laws):
            b = _autoencoder(x, law, masking, np.random.default_rng([seed, 1 + j]))
            out[:, i, j] = _reconstruction_error(b, matrix, test_ratio), _probe_error(b, matrix, leading)
    return AutoencoderSimulation(*out)


def _autoencoder(x: Float[np.ndarray, "n d"], law: MaskLaw, masking: Masking, rng: np.random.Generator) -> Matrix:
    """Fit an autoencoder: column j predicts feature j, and the diagonal is zero."""
    if masking.num_masks == "inf":
        second, penalty, first = mask_moments(law, masking)
        moment = x.T @ x / len(x)
        inverse = np.linalg.inv(second * moment + np.diag(penalty * np.diag(moment)))
        # all regressions of one feature on the others at once, from one inverse
        return first / second * (np.eye(len(inverse)) - inverse / np.diag(inverse))
    drawn = [masked_rows(x, law, masking.scale, rng) for _ in range(masking.num_masks)]
    rows = np.concatenate([w for w, _ in drawn])
    ratios = np.concatenate([r for _, r in drawn])[:, None]
    values = np.concatenate([x] * masking.num_masks)
    weight = 1 / np.sqrt(ratios) if masking.loss == "masked-mean" else np.ones_like(ratios)
    columns = []
    for j in range(x.shape[1]):
        # no Gaussian draw is exactly 0
        hidden = rows[:, j] == 0
        columns.append(minimum_norm((weight * rows)[hidden], (weight * values)[hidden, j : j + 1]))
    return np.concatenate(columns, axis=1)


def _reconstruction_error(b: Matrix, covariance: Matrix, test_ratio: float) -> float:
    variances = np.diag(covariance)
    visible, overlap = np.sum(b * (covariance @ b), axis=0), np.sum(b * covariance, axis=0)
    errors = masked_test_error(test_ratio, visible, variances @ b**2, overlap, float(variances.mean()))
    return float(errors.mean())


def _probe_error(b: Matrix, covariance: Matrix, leading: Float[np.ndarray, "d r"]) -> float:
    code = np.linalg.svd(b)[0][:, : leading.shape[1]]
    shared = code.T @ covariance @ leading
    explained = np.sum(shared * np.linalg.solve(code.T @ covariance @ code, shared), axis=0)
    return float(1 - np.mean(explained / np.sum(leading * (covariance @ leading), axis=0)))
