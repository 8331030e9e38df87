"""Closed forms that the general solver must agree with, by a different route."""

from itertools import product

import numpy as np

from dnar2mae.mask_laws import Fixed
from dnar2mae.theory.equivalents import risk_equivalent
from dnar2mae.theory.monte_carlo import mask_moments, square_root
from dnar2mae.theory.options import Masking
from dnar2mae.theory.phase import LOWEST_RATIO, fixed_grid


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


def best_fixed(task, aspect, masking):
    """Fixed ratio of the smallest excess risk, to about 1e-5, and that risk: a grid, then four closer looks."""
    laws = fixed_grid(400, LOWEST_RATIO if task.singular or masking.loss != "rows" else 0.0)
    for _ in range(4):
        excess = risk_equivalent(task, laws, aspect, masking).excess[:, 0]
        best = int(excess.argmin())
        ratio, risk = laws[best].ratio, float(excess[best])
        ends = laws[max(best - 1, 0)].ratio, laws[min(best + 1, len(laws) - 1)].ratio
        laws = [Fixed(p) for p in np.linspace(*ends, 9).tolist()]
    return ratio, risk


def simulate_uncentred(task, laws, aspect, scale, seeds, test_ratio=0.0):
    """Excess risk of fits with an intercept to random samples of uncentred inputs, very many masks: seeds by laws."""
    kept, factor = 1 - test_ratio, 1 / (1 - test_ratio) if scale == "inv" else 1.0
    root = square_root(task.covariance)
    num_samples = max(2, round(len(task.mean) / aspect))
    risks = np.empty((len(seeds), len(laws)))
    for i, seed in enumerate(seeds):
        rng = np.random.default_rng(seed)
        x0 = rng.standard_normal((num_samples, len(root))) @ root
        y = x0 @ task.target + np.sqrt(task.noise) * rng.standard_normal((num_samples, task.target.shape[1]))
        x = task.mean + x0
        for j, law in enumerate(laws):
            second, penalty, first = mask_moments(law, Masking(scale=scale))
            mean, moment = x.mean(0), x.T @ x / len(x)
            matrix = second * moment - first**2 * np.outer(mean, mean)
            matrix += np.diag(max(penalty, 1e-9) * np.diag(moment))
            b = first * np.linalg.solve(matrix, x.T @ (y - y.mean(0)) / len(x))
            error = factor * kept * b - task.target
            shift = y.mean(0) - first * mean @ b + factor * kept * task.mean @ b
            own = factor**2 * kept * test_ratio * (np.diag(task.covariance) + task.mean**2) @ b**2
            risks[i, j] = np.mean(np.sum(error * (task.covariance @ error), axis=0) + shift**2 + own)
    return risks


def draw_masks(size, ratios, rng):
    """A mask of ones and zeros for each ratio."""
    return (rng.random((len(ratios), size)) >= ratios[:, None]).astype(float)


def share_inputs(x, mask):
    """What a predictor that sees the visible share reads: w and k w."""
    w = x * mask
    return np.hstack([w, mask.mean(1, keepdims=True) * w])


def simulate_share(covariance, beta, noise, num_samples, law, ridge, test_ratio, seed, num_masks=300):
    """Excess risk, on drawn test inputs, of a fit to drawn masks of drawn samples."""
    rng, size = np.random.default_rng(seed), len(covariance)
    root = np.linalg.cholesky(covariance).T
    x = rng.standard_normal((num_samples, size)) @ root
    y = x @ beta + np.sqrt(noise) * rng.standard_normal(num_samples)
    gram, cross = np.zeros((2 * size, 2 * size)), np.zeros(2 * size)
    for _ in range(num_masks):
        rows = share_inputs(x, draw_masks(size, law.sample(num_samples, rng), rng))
        gram, cross = gram + rows.T @ rows, cross + rows.T @ y
    count = num_masks * num_samples
    b = np.linalg.solve(gram / count + ridge * np.eye(2 * size), cross / count)
    fresh = rng.standard_normal((4_000, size)) @ root
    seen = share_inputs(fresh, draw_masks(size, np.full(len(fresh), test_ratio), rng))
    return np.mean((seen @ b - fresh @ beta) ** 2)


def fit_with_bits(x, y, law, ridge):
    """Weights of w of the fit of y on (w, z, 1) in the expectation over all masks, one by one; bits are free."""
    size = x.shape[1]
    masks = np.array(list(product((0.0, 1.0), repeat=size)))
    visible = masks.sum(1)[:, None]
    chance = ((1 - law.nodes) ** visible * law.nodes ** (size - visible)) @ law.weights
    gram, cross = 0.0, 0.0
    for mask, weight in zip(masks, chance, strict=True):
        rows = np.hstack([x * mask, np.tile(mask, (len(x), 1)), np.ones((len(x), 1))])
        gram, cross = gram + weight * rows.T @ rows / len(x), cross + weight * rows.T @ y / len(x)
    penalty = np.diag([ridge] * size + [0.0] * (size + 1))
    return np.linalg.solve(gram + penalty, cross)[:size]
