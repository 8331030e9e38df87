"""Closed forms that the general solver must agree with, by a different route."""

import numpy as np


def one_covariance_risk(covariance, target, noise, num_samples, moments):
    """Rows of one covariance aS + bD and cross moment cSb: the min-norm formula with an approximation shift."""
    a, b, c = moments
    size = len(covariance)
    masked = a * covariance + b * np.diag(np.diag(covariance))
    values = np.linalg.eigvalsh(masked)
    kappa = 0.0
    if size > num_samples:
        low, high = 1e-12, values.sum() / num_samples
        for _ in range(200):
            kappa = np.sqrt(low * high)
            low, high = (kappa, high) if np.sum(values / (values + kappa)) > num_samples else (low, kappa)
    p = np.linalg.inv(masked + kappa * np.eye(size))
    best = np.linalg.solve(masked, c * covariance @ target)
    mean = p @ masked @ best
    residual = noise + target @ covariance @ target - c * target @ covariance @ best
    residual += (mean - best) @ masked @ (mean - best)
    spread = np.trace(covariance @ p @ masked @ p) / (num_samples - np.trace(masked @ p @ masked @ p))
    return (mean - target) @ covariance @ (mean - target) + residual * spread


def isotropic_risk(gamma, ratio, noise):
    """Isotropic features, unit signal, one mask of fixed ratio, no rescaling."""
    spread = gamma / (1 - gamma) if gamma < 1 else 1 / (gamma - 1)
    return (noise + ratio) / (1 - ratio) * spread + max(0.0, 1 - 1 / gamma)
