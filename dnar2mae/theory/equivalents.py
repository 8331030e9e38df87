r"""Deterministic equivalents of the risk of masked regression.

For any law of the mask ratio, rows of one sample have different covariances, so one averaged covariance does
not describe them. Two numbers do: with the averages A, B, C of :mod:`dnar2mae.theory.rows`,

    s1 = tr SQ / n,    s2 = tr DQ / n,    Q = (A S + B D + l I)^{-1},

where (iota, l) = (1, 0) with more rows than features, (0, 1) with fewer (the limit of a vanishing ridge), and
(1, lambda) for a ridge. The mean predictor is bbar = C Q S beta; fluctuations add

    E b'Tb = bbar'T bbar + m1 v_q + m2 v_d,    m = (I - W)^{-1} (tr SQTQ, tr DQTQ) / n,

for T = S or D, with v_q = E q'GRGq / M^2, v_d = E sum_m b_m (GRG)_mm / M^2 and R the residual moments of a
sample.

References
----------
.. [1] Hastie, Montanari, Rosset, Tibshirani, arXiv 1903.08560, theorem 3 (no mask: p = 0).
.. [2] Louart, arXiv 2109.02644 (resolvents of samples with unequal covariances).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from dnar2mae.errors import ConfigError, Dnar2maeError
from dnar2mae.mask_laws import MaskLaw
from dnar2mae.theory.rows import Couplings, Masking, Rows, group_rows
from dnar2mae.theory.shapes import PerCell, PerLaw
from dnar2mae.theory.task import Resolvent, Signal, Task

PEAK_WIDTH = 1e-6
"""Relative distance from the interpolation threshold below which a ridgeless risk is infinite."""
# numbers in one temporary array: 8 MB
_BLOCK = 1_000_000
# fixed points: most steps, and the residual in log s at which they end
_MAX_STEPS = 200
_TOLERANCE = 1e-11


Aspects = float | Sequence[float] | Float[np.ndarray, " G"]
"""Aspect ratios d / n > 0."""


class ConvergenceError(Dnar2maeError, ArithmeticError):
    """No fixed point: the iteration did not converge."""


@dataclass(frozen=True, eq=False)
class Risk:
    """Test risk of a predictor, law by law and aspect ratio by aspect ratio.

    Every array has the shape (laws, aspects). Within the peak's width, variances are infinite.
    """

    noise: float
    """Noise variance of the task."""
    signal: float
    """beta'S beta."""
    overlap: PerLaw
    """beta'S bbar."""
    visible: PerLaw
    """bbar'S bbar."""
    masked: PerLaw
    """bbar'D bbar."""
    visible_variance: PerLaw
    """Variance of the prediction on unmasked inputs due to the sample and its masks, without the target's
    noise."""
    visible_noise: PerLaw
    """The same per unit of noise variance."""
    masked_variance: PerLaw
    """Like ``visible_variance``, in the metric D."""
    masked_noise: PerLaw
    """Like ``visible_noise``, in the metric D."""
    effective_ratio: PerLaw
    """p_eff = B / (A + B): the fixed ratio with the same mean predictor (one mask per sample)."""
    effective_ridge: PerLaw
    """The ridge l / (A + B) that the ridgeless fit behaves as if it had."""

    @property
    def bias(self) -> PerLaw:
        """(bbar - beta)'S (bbar - beta)."""
        return self.visible - 2 * self.overlap + self.signal

    @property
    def variance(self) -> PerLaw:
        """Excess risk less bias."""
        return self.visible_variance + self.noise * self.visible_noise

    @property
    def noiseless(self) -> PerLaw:
        """Excess risk without noise; with noise variance v it is ``noiseless + v * visible_noise``."""
        return self.bias + self.visible_variance

    @property
    def excess(self) -> PerLaw:
        """E (x'b - x'beta)^2 on unmasked inputs."""
        return self.noiseless + self.noise * self.visible_noise

    def on_masked(self, ratio: float) -> PerLaw:
        """Return the mean squared error on test inputs masked at a fixed ratio, the target's noise included."""
        visible = self.visible + self.visible_variance + self.noise * self.visible_noise
        masked = self.masked + self.masked_variance + self.noise * self.masked_noise
        # no inf * 0 at the peak, where ratio is 0
        masked = np.where(np.isfinite(visible), masked, 0.0)
        return masked_test_error(ratio, visible, masked, self.overlap, self.signal + self.noise)


def masked_test_error(
    ratio: float,
    visible: Float[np.ndarray, "*S"],
    masked: Float[np.ndarray, "*S"],
    overlap: Float[np.ndarray, "*S"],
    total: float,
) -> Float[np.ndarray, "*S"]:
    """Return the error q^2 b'Sb + p q b'Db - 2 q beta'Sb + E y^2 of b on inputs masked at ratio p, not rescaled."""
    kept = 1 - ratio
    return kept**2 * visible + ratio * kept * masked - 2 * kept * overlap + total


def aspect_array(aspects: Aspects) -> Float[np.ndarray, " G"]:
    """Return aspect ratios as an array.

    Raises
    ------
    ConfigError
        If one is not positive and finite.
    """
    ratios = np.atleast_1d(np.asarray(aspects, float))
    if not np.all((ratios > 0) & np.isfinite(ratios)):
        raise ConfigError(f"aspect ratios d/n must be > 0 and finite, got {ratios.min():g}")
    return ratios


def risk_equivalent(task: Task, laws: Sequence[MaskLaw], aspects: Aspects, masking: Masking | None = None) -> Risk:
    """Compute the risk of least squares on masked rows, for many laws and aspect ratios at once.

    Parameters
    ----------
    task
        Covariance, target and noise.
    laws
        L laws of the mask ratio.
    aspects
        G aspect ratios d / n > 0, n being the number of *samples* (not of rows).
    masking
        Rescaling, loss, masks per sample, ridge; by default one mask, all rows, no rescaling, ridgeless.

    Returns
    -------
    Risk
        Arrays of shape (L, G).

    Raises
    ------
    ConfigError
        If an aspect ratio is not positive, a law can mask every feature, or ratio 0 meets a singular
        covariance.
    ConvergenceError
        If the iteration for a fixed point does not converge.

    Notes
    -----
    Exact as d and n grow; at d = 400 simulations differ by about 1 %, and by 10/d to 18/d of the risk in
    general. Needs many effective directions: (tr S)^2 / tr S^2 of 10 or more.
    """
    masking = masking or Masking()
    ratios = aspect_array(aspects)
    fields = np.empty((9, len(laws), len(ratios)))
    for members, rows in group_rows(laws, masking):
        if task.singular and any(laws[i].largest == 0 for i in members):
            raise ConfigError("ratio 0 needs a positive definite covariance; take a small ratio such as 0.001")
        # every pair of a law and an aspect ratio is a cell; as many are solved at once as memory allows
        law, aspect = (index.ravel() for index in np.indices((len(members), len(ratios))))
        width = max(1, _BLOCK // max(task.num_features, rows.size))
        for start in range(0, len(law), width):
            cell = slice(start, start + width)
            num_samples = task.num_features / ratios[aspect[cell]]
            solved = _solve_cells(task, rows.take(law[cell]), num_samples, masking.ridge)
            fields[:, members[law[cell]], aspect[cell]] = solved
    return Risk(task.noise, task.signal_variance, *fields)


def _solve_cells(task: Task, rows: Rows, num_samples: PerCell, ridge: float | None) -> Float[np.ndarray, "9 P"]:
    fill = task.num_features / (num_samples * rows.per_sample)
    iota = np.ones_like(fill) if ridge is not None else np.where(fill < 1, 1.0, 0.0)
    ell = np.full_like(fill, ridge) if ridge is not None else 1 - iota
    at_peak = (np.abs(fill - 1) < PEAK_WIDTH) & (ridge is None)
    out = np.empty((9, len(fill)))
    # at the peak the variances diverge, and effective ratio and ridge are not defined
    out[:, at_peak] = np.array([0, 0, 0, np.inf, 0, np.inf, 0, np.nan, np.nan])[:, None]
    solvable = np.flatnonzero(~at_peak)
    if not len(solvable):
        return out
    cells = _Cells(rows.take(solvable), *(v[solvable] for v in (num_samples, iota, ell)))
    # without masks, A = 1 - d / rows below the threshold: a first guess of how much features shrink A and B
    scale = np.maximum(1 - fill[solvable], 0.0) + (fill[solvable] >= 1)
    start = _fixed_point(task.spectrum, cells, _first_guess(task.spectrum, cells, scale), 3)
    out[:, solvable] = _fields(task, task.spectrum, cells, start)
    # the spectrum is exact but for unequal variances beside a ridge, where its solution is a start, one cell at a time
    if task.dense is not None:
        for i in np.flatnonzero(cells.ell > 0):
            one = cells.take(np.array([i]))
            point = _fixed_point(task.dense, one, start.log_s[:, [i]], 1)
            out[:, solvable[[i]]] = _fields(task, task.dense, one, point)
    return out


@dataclass(frozen=True, eq=False)
class _Cells:
    """P problems solved together."""

    rows: Rows
    num_samples: PerCell
    iota: PerCell
    ell: PerCell

    def take(self, index: np.ndarray) -> "_Cells":
        return _Cells(self.rows.take(index), self.num_samples[index], self.iota[index], self.ell[index])


class _Point(NamedTuple):
    """A solved fixed point."""

    log_s: Float[np.ndarray, "2 P"]
    couplings: Couplings
    traces: Float[np.ndarray, "5 P"]
    """tr SQ, tr DQ, tr SQSQ, tr SQDQ, tr DQDQ, over n."""
    feedback: Float[np.ndarray, "P 2 2"]
    """W: how (m1, m2) act on themselves."""


def _first_guess(resolvent: Resolvent, cells: _Cells, scale: PerCell) -> Float[np.ndarray, "2 P"]:
    small = np.full_like(scale, 1e-8)
    k = cells.rows.couplings(small, small, np.ones_like(scale))
    # B is 0 without masks: the tiny number keeps an eigenvalue 0 from a division by 0
    traces = resolvent.traces(scale * k.a, scale * k.b + 1e-300, cells.ell)
    return np.log(traces[:2] / cells.num_samples)


def _fixed_point(resolvent: Resolvent, cells: _Cells, log_s: Float[np.ndarray, "2 P"], plain_steps: int) -> _Point:
    """Solve for (s1, s2) by Newton steps, after a few plain ones, which always move towards the solution.

    The steps are in (log s1, log s2): s stays positive, and the tolerance is relative.
    """
    for step in range(_MAX_STEPS):
        s = np.exp(log_s)
        k = cells.rows.couplings(s[0], s[1], cells.iota)
        traces = resolvent.traces(k.a, k.b, cells.ell) / cells.num_samples
        t11, t12, t22 = traces[2:]
        by_trace = [
            [t11 * k.aa + t12 * k.ab, t11 * k.ab + t12 * k.bb],
            [t12 * k.aa + t22 * k.ab, t12 * k.ab + t22 * k.bb],
        ]
        feedback = np.moveaxis(np.array(by_trace), 2, 0)
        residual = np.log(traces[:2]) - log_s
        if np.abs(residual).max() < _TOLERANCE:
            return _Point(log_s, k, traces, feedback)
        # a plain step sets s to the traces
        move = residual
        if step >= plain_steps:
            # feedback is the derivative of the traces by s: here of their logarithms, by log s
            jacobian = np.eye(2) - feedback * s.T[:, None] / traces[:2].T[:, :, None]
            move = np.linalg.solve(jacobian, residual.T[..., None])[..., 0].T
            # at most a factor of e in s at once: from afar, Newton steps overshoot
            move = move / np.maximum(1, np.abs(move).max(0))
        log_s = log_s + move
    raise ConvergenceError(f"no fixed point after {_MAX_STEPS} steps: aspect ratio too close to the peak?")


def _fields(task: Task, resolvent: Resolvent, cells: _Cells, point: _Point) -> Float[np.ndarray, "9 P"]:
    k = point.couplings
    mean: Signal = resolvent.signal(k.a, k.b, cells.ell, k.c)
    tau = task.signal_variance
    moments = np.array(
        [
            [tau * k.cc - 2 * mean.overlap * k.ac + mean.visible * k.aa + mean.masked * k.ab, k.cc],
            [tau * k.by - 2 * mean.overlap * k.bc + mean.visible * k.ab + mean.masked * k.bb, k.by],
        ]
    )
    t11, t12, t22 = point.traces[2:]
    sources = np.moveaxis(np.array([[t11, t12], [t12, t22]]), 2, 0)
    # (m1, m2) by row, T = S, D by column
    reach = np.linalg.solve(np.eye(2) - point.feedback, sources)
    variances = np.einsum("pmt,mvp->tvp", reach, moments).reshape(4, -1)
    total = k.a + k.b
    return np.concatenate([np.stack(mean), variances, np.stack([k.b / total, cells.ell / total])])
