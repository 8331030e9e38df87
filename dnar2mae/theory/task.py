"""A linear task, and the traces of its resolvent.

x ~ N(0, S) in R^d, y = x'beta + noise. The risk depends on (S, beta) only through

    Q = (A S + B D + l I)^{-1},    D = diag S.

Where D is constant or l = 0, that is a sum over the eigenvalues of D^{-1/2} S D^{-1/2}; elsewhere it is
dense algebra.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from dnar2mae.errors import ConfigError
from dnar2mae.theory.covariance import check_covariance
from dnar2mae.theory.shapes import Matrix, PerCell, Targets

# relative spread of variances, and relative eigenvalue, below which a difference from equality and from 0 is rounding
_EQUAL_VARIANCES = 1e-9
_SINGULAR = 1e-10


class Signal(NamedTuple):
    """Quadratic forms of the mean predictor bbar = C Q S beta, averaged over targets."""

    overlap: PerCell
    """beta'S bbar."""
    visible: PerCell
    """bbar'S bbar."""
    masked: PerCell
    """bbar'D bbar."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The resolvent in the eigenbasis of the correlation matrix; exact if D is constant or l = 0."""

    eigenvalues: Float[np.ndarray, " d"]
    """Of D^{-1/2} S D^{-1/2}."""
    energies: Float[np.ndarray, " d"]
    """Squared coordinates of D^{1/2} beta, averaged over targets."""
    variance: float
    """Mean of D."""

    @cached_property
    def _trace_weights(self) -> Float[np.ndarray, "d 3"]:
        nu = self.eigenvalues
        return np.stack([nu**2, nu, np.ones_like(nu)], axis=1)

    def traces(self, a: PerCell, b: PerCell, ell: PerCell) -> Float[np.ndarray, "5 P"]:
        """Sum over eigenvalues: tr SQ, tr DQ, tr SQSQ, tr SQDQ, tr DQDQ."""
        q = self._resolvent(a, b, ell)
        weights = self._trace_weights
        return np.concatenate([(q @ weights[:, 1:]).T, ((q * q) @ weights).T])

    def signal(self, a: PerCell, b: PerCell, ell: PerCell, c: PerCell) -> Signal:
        """Sum over eigenvalues, weighted by the target's energies."""
        m = c[:, None] * self._resolvent(a, b, ell) * self.eigenvalues
        visible = self.energies * self.eigenvalues
        return Signal(m @ visible, m**2 @ visible, m**2 @ self.energies)

    def _resolvent(self, a: PerCell, b: PerCell, ell: PerCell) -> Float[np.ndarray, "P d"]:
        return 1 / (np.multiply.outer(a, self.eigenvalues) + (b + ell / self.variance)[:, None])


@dataclass(frozen=True, eq=False)
class Dense:
    """The resolvent by matrix inversion, one point at a time."""

    covariance: Matrix
    target: Targets

    def traces(self, a: PerCell, b: PerCell, ell: PerCell) -> Float[np.ndarray, "5 P"]:
        """Take the same traces by elementwise sums: SQ = (I - (B D + l) Q) / A needs no product."""
        out = np.empty((5, len(a)))
        d = np.diag(self.covariance)
        for i, (a_i, b_i, ell_i) in enumerate(zip(a, b, ell, strict=True)):
            q = np.linalg.inv(self._inverse(a_i, b_i, ell_i))
            dq = d[:, None] * q
            sq = -(b_i * d + ell_i)[:, None] * q
            np.fill_diagonal(sq, 1 + np.diag(sq))
            sq /= a_i
            squares = (np.vdot(sq, sq.T), np.vdot(sq, dq.T), np.vdot(dq, dq.T))
            out[:, i] = (np.trace(sq), np.trace(dq), *squares)
        return out

    def signal(self, a: PerCell, b: PerCell, ell: PerCell, c: PerCell) -> Signal:
        """Compute the forms of C Q S beta."""
        d = np.diag(self.covariance)
        image = self.covariance @ self.target
        out = np.empty((3, len(a)))
        for i, (a_i, b_i, ell_i, c_i) in enumerate(zip(a, b, ell, c, strict=True)):
            mean = c_i * np.linalg.solve(self._inverse(a_i, b_i, ell_i), image)
            forms = (image * mean, mean * (self.covariance @ mean), d[:, None] * mean**2)
            out[:, i] = [form.sum(0).mean() for form in forms]
        return Signal(*out)

    def _inverse(self, a: float, b: float, ell: float) -> Matrix:
        matrix = a * self.covariance
        np.fill_diagonal(matrix, np.diag(matrix) + b * np.diag(self.covariance) + ell)
        return matrix


Resolvent = Spectrum | Dense


@dataclass(frozen=True, eq=False)
class Task:
    """A linear regression task; make one with :func:`linear_task` or :func:`spectral_task`."""

    spectrum: Spectrum
    """The eigenbasis view."""
    noise: float
    """Variance sigma^2 of the target's noise."""
    covariance: Matrix | None = None
    """S; None if only its spectrum is known."""
    target: Targets | None = None
    """beta, one column a target; risks are averages over them."""

    @property
    def num_features(self) -> int:
        """Number of features d."""
        return len(self.spectrum.eigenvalues)

    @property
    def signal_variance(self) -> float:
        """Variance of the signal, beta'S beta, averaged over targets."""
        return float(self.spectrum.energies @ self.spectrum.eigenvalues)

    @property
    def singular(self) -> bool:
        """Whether some combination of features is constant."""
        return bool(self.spectrum.eigenvalues.min() < _SINGULAR)

    @cached_property
    def dense(self) -> Dense | None:
        """The dense resolvent where an identity penalty needs it: features of unequal variance."""
        if self.covariance is None or self.target is None:
            return None
        variances = np.diag(self.covariance)
        if np.ptp(variances) < _EQUAL_VARIANCES * variances.mean():
            return None
        return Dense(self.covariance, self.target)


def linear_task(covariance: Float[np.ndarray, "..."], target: Float[np.ndarray, "..."], noise: float) -> Task:
    """Build a task from its covariance.

    Parameters
    ----------
    covariance
        S, shape (d, d), symmetric positive semi-definite.
    target
        beta, shape (d,), or several of them as columns, shape (d, K).
    noise
        Variance of the target's noise, >= 0.

    Raises
    ------
    ConfigError
        If the covariance is not one, the target does not fit it, or the noise is negative.
    """
    matrix = check_covariance(covariance)
    beta = np.asarray(target, float).reshape(len(target), -1)
    if len(beta) != len(matrix) or not np.all(np.isfinite(beta)):
        raise ConfigError(f"the target must be {len(matrix)} finite coefficients, got shape {np.shape(target)}")
    _check_noise(noise)
    root = np.sqrt(np.diag(matrix))
    eigenvalues, vectors = np.linalg.eigh(matrix / np.outer(root, root))
    energies = ((vectors.T @ (beta * root[:, None])) ** 2).mean(1)
    spectrum = Spectrum(np.maximum(eigenvalues, 0), energies, float(np.diag(matrix).mean()))
    return Task(spectrum, noise, matrix, beta)


def spectral_task(eigenvalues: Float[np.ndarray, " d"], energies: Float[np.ndarray, " d"], noise: float) -> Task:
    """Build a task of unit-variance features from its spectrum alone.

    Parameters
    ----------
    eigenvalues
        Of S, >= 0; scaled to mean 1, the mean of D.
    energies
        Squared coordinates of beta along the eigenvectors, >= 0; scaled to beta'S beta = 1.
    noise
        Variance of the target's noise, >= 0.

    Raises
    ------
    ConfigError
        If lengths differ, a value is negative, or there is no signal.
    """
    if eigenvalues.shape != energies.shape or min(eigenvalues.min(), energies.min()) < 0:
        raise ConfigError("eigenvalues and energies must be equally many numbers >= 0")
    nu = eigenvalues / eigenvalues.mean()
    if not energies @ nu > 0:
        raise ConfigError("the target must have energy along some eigenvalue > 0")
    _check_noise(noise)
    return Task(Spectrum(nu, energies / (energies @ nu), 1.0), noise)


def aligned_targets(covariance: Matrix, alignment: float, num_targets: int = 12, seed: int = 0) -> Targets:
    """Draw targets with beta'S beta = 1 and energy proportional to ``eigenvalue ** alignment``.

    Parameters
    ----------
    covariance
        S.
    alignment
        0: all directions alike; 1: mostly along the leading ones; negative: along the trailing ones.
    num_targets
        Number of targets K, which differ in random signs.
    seed
        Seed of the signs.

    Raises
    ------
    ConfigError
        If the covariance is singular and the alignment negative.
    """
    eigenvalues, vectors = np.linalg.eigh(covariance)
    eigenvalues = np.maximum(eigenvalues, 0)
    if alignment < 0 and eigenvalues[0] < _SINGULAR * eigenvalues[-1]:
        raise ConfigError(f"--alignment must be >= 0 for a singular covariance, got {alignment:g}")
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (len(covariance), num_targets))
    energies = eigenvalues**alignment
    return vectors @ (np.sqrt(energies / (energies @ eigenvalues))[:, None] * signs)


def _check_noise(noise: float) -> None:
    if not (noise >= 0 and np.isfinite(noise)):
        raise ConfigError(f"--noise must be >= 0 and finite, got {noise:g}")
