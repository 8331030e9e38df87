"""Closed forms and shortcuts that the general solver must agree with, by a different route."""

import numpy as np

from dnar2mae.theory import Masking, MaskLaw, uniform
from dnar2mae.theory.equivalents import _Cells, _fields, _first_guess, _fixed_point
from dnar2mae.theory.rows import OneMask, mask_moments


def fixed_ratio_risk(covariance, target, noise, num_samples, ratio):
    """One mask of fixed ratio, no rescaling: single-covariance formula with the approximation shift beta_m."""
    size, q = len(covariance), 1 - ratio
    masked = q * q * covariance + ratio * q * np.diag(np.diag(covariance))
    values = np.linalg.eigvalsh(masked)
    kappa = 0.0
    if size > num_samples:
        low, high = 1e-12, values.sum() / num_samples
        for _ in range(200):
            kappa = np.sqrt(low * high)
            low, high = (kappa, high) if np.sum(values / (values + kappa)) > num_samples else (low, kappa)
    p = np.linalg.inv(masked + kappa * np.eye(size))
    best = np.linalg.solve(masked, q * covariance @ target)
    mean = p @ masked @ best
    residual = noise + target @ covariance @ target - q * target @ covariance @ best
    residual += (mean - best) @ masked @ (mean - best)
    spread = np.trace(covariance @ p @ masked @ p) / (num_samples - np.trace(masked @ p @ masked @ p))
    return (mean - target) @ covariance @ (mean - target) + residual * spread


def isotropic_risk(gamma, ratio, noise):
    """Isotropic features, unit signal, one mask of fixed ratio, no rescaling."""
    spread = gamma / (1 - gamma) if gamma < 1 else 1 / (gamma - 1)
    return (noise + ratio) / (1 - ratio) * spread + max(0.0, 1 - 1 / gamma)


def averaged_covariance_risk(task, low, high, gamma, scale):
    """The tempting shortcut: one class of rows with the averaged second moments of Uniform(low, high)."""
    second, penalty, first = mask_moments(uniform(low, high), Masking(scale=scale))
    root = np.sqrt(second)
    rows = OneMask(*(np.array([[v]]) for v in (1.0, root, penalty, first / root)))
    one = np.ones(1)
    below = gamma < 1
    cells = _Cells(rows, one * task.num_features / gamma, one * below, one * (not below))
    guess = _first_guess(task.spectrum, cells, one * max(1 - gamma, 0.1))
    fields = _fields(task, task.spectrum, cells, _fixed_point(task.spectrum, cells, guess))[:, 0]
    # y = first / root also scales the noise term; the target itself keeps its size
    overlap, visible, _, noiseless, per_noise = fields[:5]
    return visible - 2 * overlap + task.signal_variance + noiseless + task.noise * per_noise


def uniform_moment(law: MaskLaw, power):
    return float(law.weights @ (1 - law.ratios) ** power)
