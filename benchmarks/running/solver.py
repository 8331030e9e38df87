r"""Logistic regression with an L2 penalty, run to its optimum for one penalty after the other.

.. math:: \frac{1}{n} \sum_i -\log p(y_i \mid x_i) + \frac{1}{2 C n} \lVert W \rVert^2

L-BFGS in the principal coordinates of the rows, each scaled by its curvature at the fit before. Vectors of a network
have hundreds of columns that all but repeat each other, on which plain L-BFGS takes thousands of iterations.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

MAX_ITERATIONS = 3000
_TOLERANCE = 3e-6  # of the largest entry of the scaled gradient
_SMALL_STEP = 1e-10  # fall of the loss in a step at which a search ends; float32 rows give it to 1e-9
_LEFT = 4e-8  # squared length of the scaled gradient up to which a fit counts as converged: half of it is about what is
# left to gain
_MAX_ROTATED = 4096  # side of the largest matrix that is worth its eigenvectors
_SMALLEST = 1e-6  # a column that varies less, as a share of the largest, is constant up to rounding


class Fit(NamedTuple):
    """A logistic regression."""

    c: float
    """Inverse strength of the penalty."""
    classes: Int[np.ndarray, " K"]
    """Classes that it has seen, ascending."""
    weights: Float[np.ndarray, "F M"]
    """A column a class; of two classes one column, for the second."""
    intercepts: Float[np.ndarray, " M"]
    converged: bool
    loss: float
    """Mean cross-entropy in nats with the penalty, as above."""

    def probabilities(self, rows: Any, num_classes: int) -> Float[np.ndarray, "N C"]:
        """Return class probabilities; a class that it has not seen has none."""
        out = np.zeros((rows.shape[0], num_classes))
        out[:, self.classes] = np.exp(_log_softmax(rows @ self.weights.astype(rows.dtype) + self.intercepts))
        return out


def standardise(pool: Any, *chosen: Any, by_column: bool = True) -> list[Any]:
    """Return rows with the mean 0 and sd 1 of a pool of rows; sparse ones are not centred and stay sparse.

    Parameters
    ----------
    pool
        Rows that say how to scale; no labels are needed.
    chosen
        Rows to scale.
    by_column
        Each column to sd 1; else one factor for all, so that directions of small variance stay small.
    """
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(with_mean=isinstance(pool, np.ndarray)).fit(pool)  # centring would fill a sparse matrix
    sd = np.sqrt(scaler.var_)
    scaler.scale_ = np.where(sd <= _SMALLEST * sd.max(), np.inf, sd if by_column else np.sqrt((sd**2).mean()))
    return [scaler.transform(rows) for rows in chosen]


def penalty_path(train: Any, labels: Int[np.ndarray, " N"], penalties: Sequence[float]) -> Iterator[Fit]:
    """Yield the fit of each inverse penalty strength, from the strongest penalty on, each started from the one before.

    Parameters
    ----------
    train
        ``[N, F]``, dense or sparse; of float32 rows the optimum is exact to 1e-7.
    labels
        Classes, two or more.
    penalties
        Inverse strengths C.
    """
    from scipy.optimize import minimize

    rows, back = _principal(train)
    objective = _Objective(rows, labels)
    weights = np.zeros((rows.shape[1] + 1, objective.num_columns))
    for c in sorted(penalties):
        objective.penalise(c, weights)
        options = {"maxiter": MAX_ITERATIONS, "maxfun": 2 * MAX_ITERATIONS, "gtol": _TOLERANCE, "ftol": _SMALL_STEP}
        options |= {"maxcor": 20}
        start = (weights / objective.scale).ravel()
        optimum = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
        weights = optimum.x.reshape(weights.shape) * objective.scale
        converged = bool(optimum.jac @ optimum.jac <= _LEFT)  # rounding may end a search before its tolerance
        yield Fit(c, objective.classes, back(weights[:-1]), weights[-1], converged, float(optimum.fun))


class _Objective:
    """Penalised mean loss and its gradient, in scaled weights."""

    def __init__(self, rows: Any, labels: Int[np.ndarray, " N"]) -> None:
        self.rows = rows
        self.classes, self.codes = np.unique(labels, return_inverse=True)
        self.num_columns = 1 if len(self.classes) == 2 else len(self.classes)
        self.squared = np.square(rows) if isinstance(rows, np.ndarray) else rows.multiply(rows).tocsr()
        self.target = np.eye(len(self.classes))[self.codes][:, -self.num_columns :]

    def penalise(self, c: float, weights: Float[np.ndarray, "P M"]) -> None:
        """Set the penalty, and scale each weight by its curvature at these weights; the intercept has no penalty."""
        self.ridge = 1 / (c * len(self.codes))
        p = np.exp(_log_softmax(self.rows @ weights[:-1].astype(self.rows.dtype) + weights[-1]))
        spread = (p * (1 - p))[:, -self.num_columns :].astype(self.rows.dtype)
        curvature = np.concatenate([self.squared.T @ spread / len(p) + self.ridge, spread.mean(0, keepdims=True)])
        self.scale = 1 / np.sqrt(curvature)

    def __call__(self, scaled: Float[np.ndarray, " P"]) -> tuple[float, Float[np.ndarray, " P"]]:
        number = len(self.codes)
        weights = scaled.reshape(-1, self.num_columns) * self.scale
        logs = _log_softmax(self.rows @ weights[:-1].astype(self.rows.dtype) + weights[-1])
        loss = -logs[np.arange(number), self.codes].mean() + self.ridge / 2 * np.square(weights[:-1]).sum()
        residual = (np.exp(logs[:, -self.num_columns :]) - self.target) / number
        slope = self.rows.T @ residual.astype(self.rows.dtype) + self.ridge * weights[:-1]
        gradient = np.concatenate([slope, residual.sum(0, keepdims=True)]) * self.scale
        return float(loss), gradient.ravel()


def _log_softmax(logits: Float[np.ndarray, "N M"]) -> Float[np.ndarray, "N K"]:
    """Return log-probabilities; one column is the logit of the second of two classes."""
    from scipy.special import log_softmax

    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    return log_softmax(logits.astype(np.float64), axis=1)


def _principal(train: Any) -> tuple[Any, Callable[[np.ndarray], np.ndarray]]:
    """Return the rows in their principal coordinates, and the way back for weights.

    A squared penalty depends on inner products alone, so a rotation changes nothing, and where rows are fewer than
    columns, coordinates in their span are enough. Matrices too large for either stay as they are.
    """
    num_rows, num_columns = train.shape
    if num_rows < num_columns and num_rows <= _MAX_ROTATED:
        wide = train.astype(np.float64)
        products = wide @ wide.T
        values, directions = np.linalg.eigh(products if isinstance(products, np.ndarray) else products.toarray())
        kept = values > values.max() * num_rows * np.finfo(np.float64).eps
        root, basis = np.sqrt(values[kept]), directions[:, kept]
        return basis * root, lambda weights: wide.T @ ((basis / root) @ weights)
    if num_columns <= _MAX_ROTATED:
        dense = train if isinstance(train, np.ndarray) else train.toarray()
        directions = np.linalg.eigh(dense.T @ dense)[1]
        return dense @ directions, lambda weights: directions @ weights
    return train, lambda weights: weights
