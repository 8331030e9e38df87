r"""Predictors that see how much is masked, in the expectation over all masks of a sample.

**Visible share.** Of d features K are visible, k = K / d, and the predictor of y is w'(b0 + k b1), w = x o z: its
inputs are w and k w. Given K, a feature is visible with probability k and two of them with a = k (K - 1) / (d - 1), so
with h(k) = (1, k) the loss has the normal equations

    (A (x) S_n + N (x) D + lambda I) b = m (x) X'y / n,
    A = E[a h h'],  N = E[(k - a) h h'],  m = E[k h],

S_n = X'X / n, over the law of K: binomial given the ratio, so its first four moments are enough and they are exact at
any d. For features of variance 1, the eigenvectors U of A against N + lambda I (U'(N + lambda I)U = I, U'AU = diag mu)
make two plain ridge fits of it,

    b = (U (x) I) g,    g_i = eta_i (S_n + r_i)^{-1} X'y / n,    eta_i = (U'm)_i / mu_i,  r_i = 1 / mu_i,

whose joint second moments are known: with r_i = kappa_i (1 - tr S P_i / n), P_i = (S + kappa_i)^{-1}, G_i = P_i S beta,

    E g_i'T g_j / (eta_i eta_j) = G_i'T G_j + (tr T P_i S P_j / n) / (1 - tr S P_i S P_j / n)
                                  (sigma^2 + kappa_i kappa_j beta'P_i S P_j beta).

At a fixed ratio K varies by chance alone. Ridgeless, b1 is then the derivative of the plain predictor by the visible
share: the fit learns the tangent, and a random ratio a chord. With h = (1) this is the plain predictor.

**Mask bits.** Inputs w and z, the bits' weights without a penalty like an intercept: the bits absorb the mean of each
feature and what is left is the plain predictor of centred features, under every law.

References
----------
.. [1] Hastie, Montanari, Rosset, Tibshirani, arXiv 1903.08560 (one ridge fit; two differ in which kappa stands where).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from dnar2mae.errors import ConfigError
from dnar2mae.mask_laws import MaskLaw
from dnar2mae.theory.equivalents import Aspects, aspect_array
from dnar2mae.theory.rows import require_visible
from dnar2mae.theory.task import Task

# numbers of set partitions: K^j = sum_i _STIRLING[j, i] K (K - 1) .. (K - i + 1)
_STIRLING = np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 1, 3, 1, 0], [0, 1, 7, 6, 1]], float)
# a direction that carries nothing has mu = 0: a ridge of 1e12 fits nothing either
_LEAST_MU = 1e-12
# two features penalise own weights only at k = 1 / 2, which leaves b0 + k b1 at other shares undetermined
_LEAST_FEATURES = 3
_NEWTON_STEPS = 30
_KNOTS = 200
_TOLERANCE = 1e-12


class ShareMoments(NamedTuple):
    """Moments of the visible share, for L laws and h(k) = (1) or (1, k)."""

    pairs: Float[np.ndarray, "L J J"]
    """A = E[a h h']."""
    own: Float[np.ndarray, "L J J"]
    """N = E[(k - a) h h']."""
    first: Float[np.ndarray, "L J"]
    """m = E[k h]."""


def share_moments(laws: Sequence[MaskLaw], num_features: int, sees_share: bool) -> ShareMoments:
    """Return exact moments of the share of ``num_features`` features that masks leave visible.

    Raises
    ------
    ConfigError
        If a law can mask every feature.
    """
    d, size = num_features, 1 + sees_share
    moments = np.empty((len(laws), 5))
    for i, law in enumerate(laws):
        require_visible(law)
        falling = np.cumprod([np.ones(len(law.nodes)), *((d - j) * (1 - law.nodes) for j in range(4))], axis=0)
        moments[i] = (_STIRLING @ falling @ law.weights) / float(d) ** np.arange(5)
    power = np.add.outer(np.arange(size), np.arange(size))
    pairs = (d * moments[:, power + 2] - moments[:, power + 1]) / (d - 1)
    return ShareMoments(pairs, moments[:, power + 1] - pairs, moments[:, 1 : 1 + size])


def share_equivalent(
    task: Task,
    laws: Sequence[MaskLaw],
    aspects: Aspects,
    *,
    sees_share: bool,
    ridges: Sequence[float] = (0.0,),
    tests: Sequence[MaskLaw],
) -> tuple[Float[np.ndarray, "L G R T"], Float[np.ndarray, "L G R T"]]:
    """Compute the deterministic equivalent of the excess risk on masked test inputs.

    Parameters
    ----------
    task
        Its features count as scaled to variance 1, which matters to a ridge alone.
    laws
        L laws that train; ratio 0 stands for its limit from above and needs a ridge.
    aspects
        G aspect ratios d / n > 0.
    sees_share
        Inputs w and k w; else w alone.
    ridges
        R penalties lambda >= 0 of ``loss / n + lambda |b|^2``.
    tests
        T laws of the ratio at test time; the risk is their mean.

    Returns
    -------
    tuple
        The excess risk without noise, and what each unit of noise variance adds to it.

    Raises
    ------
    ConfigError
        If an aspect ratio is not positive, a ridge is negative, a law can mask every feature, one without any mask
        comes without a ridge, or the share of fewer than three features is seen.
    """
    penalties = np.asarray(ridges, float)
    if not np.all(penalties >= 0):
        raise ConfigError(f"ridges must be >= 0, got {penalties.min():g}")
    if penalties.min() == 0 and any(law.largest == 0 for law in laws):
        raise ConfigError("a predictor under every mask needs ratios > 0 or a ridge")
    if sees_share and task.num_features < _LEAST_FEATURES:
        raise ConfigError(f"the visible share needs at least {_LEAST_FEATURES} features, got {task.num_features}")
    d, counts = task.num_features, task.num_features / aspect_array(aspects)
    trained, tested = share_moments(laws, d, sees_share), share_moments(tests, d, sees_share)
    size = 1 + sees_share
    metric = trained.own[:, None] + penalties[None, :, None, None] * np.eye(size)
    # U from a Cholesky factor C of N + lambda: eigenvectors of C^-1 A C^-T, brought back by C^-T
    inverse = np.linalg.inv(np.linalg.cholesky(metric))
    mu, vectors = np.linalg.eigh(inverse @ trained.pairs[:, None] @ inverse.swapaxes(-1, -2))
    back = inverse.swapaxes(-1, -2) @ vectors
    mu = np.maximum(mu, _LEAST_MU).reshape(-1, size)
    eta = np.einsum("lrji,lj->lri", back, trained.first).reshape(-1, size) / mu
    # from here on g_i carries eta_i: U eta is what makes b of the two ridge fits
    mix = back.reshape(-1, size, size) * eta[:, None, :]
    test = _Test(
        np.einsum("cji,tjk,ckl->ctil", mix, tested.pairs, mix),
        np.einsum("cji,tjk,ckl->ctil", mix, tested.own, mix),
        np.einsum("cji,tj->cti", mix, tested.first),
    )
    out = np.array([_one_aspect(task, 1 / mu, n, test) for n in counts])
    base, slope = out.reshape(len(counts), 2, len(laws), len(penalties), len(tests)).transpose(1, 2, 0, 3, 4)
    return base, slope


class _Test(NamedTuple):
    """Weights of E g_i'S g_j, E g_i'D g_j and E g_i'S beta in a test error: C pairs of a law and a ridge, T tests."""

    visible: Float[np.ndarray, "C T J J"]
    masked: Float[np.ndarray, "C T J J"]
    overlap: Float[np.ndarray, "C T J"]


def _one_aspect(task: Task, ridge: Float[np.ndarray, "C J"], num_samples: float, test: _Test) -> np.ndarray:
    """Return the two parts of the risk, shape (2, C, T)."""
    nu, energies = task.spectrum.eigenvalues, task.spectrum.energies
    kappa = effective_ridges(nu, ridge.ravel(), num_samples).reshape(ridge.shape)
    p = 1 / (nu + kappa[..., None])
    signal = energies * nu
    weights = np.stack([nu**2, nu, signal, signal * nu**2, signal * nu], axis=1)
    base = task.signal_variance - 2 * np.einsum("cti,ci->ct", test.overlap, p @ (signal * nu))
    slope = np.zeros_like(base)
    for i in range(ridge.shape[1]):
        for j in range(i + 1):
            squares, traces, residual, visible, masked = ((p[:, i] * p[:, j]) @ weights).T
            spread = 1 / (num_samples - squares)
            noise = test.visible[..., i, j] * (squares * spread)[:, None]
            noise += test.masked[..., i, j] * (traces * spread)[:, None]
            mean = test.visible[..., i, j] * visible[:, None] + test.masked[..., i, j] * masked[:, None]
            times = 1 if i == j else 2
            base += times * (mean + noise * (kappa[:, i] * kappa[:, j] * residual)[:, None])
            slope += times * noise
    return np.stack([base, slope])


def effective_ridges(
    eigenvalues: Float[np.ndarray, " d"], ridges: Float[np.ndarray, " C"], num_samples: float
) -> Float[np.ndarray, " C"]:
    """Solve r = kappa (1 - tr S (S + kappa)^{-1} / n) for kappa, by Newton steps.

    The right side is increasing and convex where it is positive, so the steps descend from r + tr S / n, which is
    above every solution; of many ridges, from the solution at a ridge close by.
    """
    kappa = ridges + eigenvalues.sum() / num_samples
    if len(ridges) > 4 * _KNOTS:
        knots = np.geomspace(ridges.min(), ridges.max() * (1 + _TOLERANCE), _KNOTS)
        solved = effective_ridges(eigenvalues, knots, num_samples)
        kappa = np.exp(np.interp(np.log(ridges), np.log(knots), np.log(solved)))
    for _ in range(_NEWTON_STEPS):
        p = eigenvalues / (eigenvalues + kappa[:, None])
        excess = kappa * (1 - p.sum(1) / num_samples) - ridges
        step = excess / (1 - np.einsum("cd,cd->c", p, p) / num_samples)
        kappa = np.maximum(kappa - step, 1e-300)
        if np.all(np.abs(step) <= _TOLERANCE * kappa):
            break
    return kappa
