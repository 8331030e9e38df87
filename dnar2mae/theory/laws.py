"""Mask-ratio laws as quadrature rules, and the fixed ratio that each one amounts to.

The theory needs a law only through expectations, so a law is a few ratios with weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dnar2mae.errors import ConfigError

UNIFORM_NODES = 24
"""Gauss-Legendre nodes of a uniform law: risks are then exact to about 1e-12."""


@dataclass(frozen=True, eq=False)
class MaskLaw:
    """The distribution of the mask ratio p, the probability that a feature is masked."""

    name: str
    """As :func:`parse_law` reads it, where it can."""
    ratios: Float[np.ndarray, " K"]
    """Quadrature nodes, in [0, 1)."""
    weights: Float[np.ndarray, " K"]
    """Their probabilities; they sum to 1."""
    high: float
    """Largest ratio that the law can draw, in [0, 1]."""
    interval: tuple[float, float] | None = None
    """Where the law is uniform; None for laws that simulations draw from their nodes."""

    def mean(self) -> float:
        """E p."""
        return float(self.weights @ self.ratios)

    def require_visible(self) -> None:
        """Refuse a law whose ratios reach 1.

        Raises
        ------
        ConfigError
            If the law can mask every feature: such rows carry no information and break the theory's
            assumptions.
        """
        if self.high >= 1:
            raise ConfigError(f"the law {self.name} can mask every feature: its ratios must stay below 1")

    def compressed(self, num_nodes: int) -> "MaskLaw":
        """Reduce the law to a Gauss rule, exact for polynomials of degree < 2 num_nodes."""
        if len(self.ratios) <= num_nodes:
            return self
        basis = np.sqrt(self.weights)[:, None]
        diagonal, off = [], []
        for _ in range(num_nodes):  # Lanczos on diag(ratios), with full orthogonalisation
            step = self.ratios * basis[:, -1]
            diagonal.append(float(step @ basis[:, -1]))
            step = step - basis @ (basis.T @ step)
            off.append(float(np.linalg.norm(step)))
            basis = np.column_stack([basis, step / off[-1]])
        return _gauss(self.name, np.array(diagonal), np.array(off[:-1]), self.high)


def fixed(ratio: float) -> MaskLaw:
    """Draw always the same ratio, in [0, 1); 0 masks nothing.

    Raises
    ------
    ConfigError
        If the ratio is not in [0, 1).
    """
    if not 0 <= ratio < 1:
        raise ConfigError(f"a fixed mask ratio must be in [0, 1), got {ratio:g}")
    return MaskLaw(f"fixed:{ratio:g}", np.array([ratio]), np.ones(1), ratio)


def uniform(low: float, high: float, num_nodes: int = UNIFORM_NODES) -> MaskLaw:
    """R2MAE: a ratio drawn uniformly from [low, high].

    Parameters
    ----------
    low, high
        0 <= low < high <= 1. A law with high = 1 has an effective ratio but no risk.
    num_nodes
        Gauss-Legendre nodes.

    Raises
    ------
    ConfigError
        If the interval is empty or leaves [0, 1].

    References
    ----------
    .. [1] Dong, Wang, Kluger, arXiv 2509.21650.
    """
    if not 0 <= low < high <= 1:
        raise ConfigError(f"a uniform law needs 0 <= low < high <= 1, got {low:g} and {high:g}")
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)
    return MaskLaw(f"uniform:{low:g},{high:g}", low + (high - low) * (nodes + 1) / 2, weights / 2, high, (low, high))


def choice(ratios: tuple[float, ...], weights: tuple[float, ...] | None = None) -> MaskLaw:
    """One of a few ratios in [0, 1), by default equally often.

    Raises
    ------
    ConfigError
        If there is no ratio, one is not in [0, 1), or the weights are not positive, one for each ratio.
    """
    if not ratios or not all(0 <= p < 1 for p in ratios):
        raise ConfigError(f"a choice law needs ratios in [0, 1), got {ratios}")
    shares = np.ones(len(ratios)) if weights is None else np.asarray(weights, float)
    if len(shares) != len(ratios) or not np.all(shares > 0):
        raise ConfigError(f"a choice law needs one weight > 0 for each of its {len(ratios)} ratios, got {weights}")
    name = "choice:" + ",".join(f"{p:g}" for p in ratios)
    return MaskLaw(name, np.asarray(ratios, float), shares / shares.sum(), max(ratios))


def from_density(
    density: Callable[[Float[np.ndarray, " K"]], Float[np.ndarray, " K"]],
    low: float,
    high: float,
    num_nodes: int = 64,
    name: str = "density",
) -> MaskLaw:
    """Any law with a density on [low, high], which need not be normalised.

    Raises
    ------
    ConfigError
        If the interval leaves [0, 1], or the density is negative, not finite or zero everywhere.
    """
    flat = uniform(low, high, num_nodes)
    weights = flat.weights * density(flat.ratios)
    if not np.all(np.isfinite(weights)) or weights.min() < 0 or weights.sum() <= 0:
        raise ConfigError(f"the density of {name} must be finite, not negative and not zero everywhere")
    return MaskLaw(name, flat.ratios, weights / weights.sum(), high)


def from_moments(moments: tuple[float, ...], name: str = "moments") -> MaskLaw:
    """Build the Gauss rule that has the given moments, the simplest law that does.

    Parameters
    ----------
    moments
        E p, E p^2, ..., E p^(2K - 1): an odd number of them, for K ratios.
    name
        What messages call the law.

    Raises
    ------
    ConfigError
        If their number is even, or no law of at least K different ratios in [0, 1) has these moments.

    References
    ----------
    .. [1] Golub, Welsch, "Calculation of Gauss quadrature rules", Math. Comp. 1969, section 4.
    """
    size = (len(moments) + 1) // 2
    if len(moments) % 2 == 0:
        raise ConfigError(f"moments must be an odd number of values (E p, E p^2, ...), got {len(moments)}")
    all_moments = np.concatenate([[1.0], moments])
    index = np.arange(size)
    hankel = all_moments[index[:, None] + index[None]]
    shifted = all_moments[index[:, None] + index[None] + 1]
    try:
        lower = np.linalg.cholesky(hankel)
    except np.linalg.LinAlgError as error:
        raise ConfigError(f"no law of {size} different ratios has the moments {moments}") from error
    jacobi = np.linalg.solve(lower, np.linalg.solve(lower, shifted).T)
    law = _gauss(name, np.diag(jacobi), np.diag(jacobi, 1), 0.0)
    if law.ratios[0] < 0 or law.ratios[-1] >= 1:
        raise ConfigError(f"no law on [0, 1) has the moments {moments}")
    return MaskLaw(name, law.ratios, law.weights, float(law.ratios[-1]))


def parse_law(spec: str) -> MaskLaw:
    """Read a law from its name.

    Parameters
    ----------
    spec
        ``fixed:P``, ``uniform:LOW,HIGH``, ``choice:P,P,...`` or ``beta:A,B,LOW,HIGH``, the density
        proportional to u^(A-1) (1-u)^(B-1) of u = (p - LOW) / (HIGH - LOW), A and B at least 1.

    Raises
    ------
    ConfigError
        If the name is unknown or its numbers break the law's rule.
    """
    name, _, rest = spec.partition(":")
    try:
        numbers = tuple(float(v) for v in rest.split(","))
    except ValueError:
        numbers = ()
    match name, numbers:
        case "fixed", (ratio,):
            return fixed(ratio)
        case "uniform", (low, high):
            return uniform(low, high)
        case "choice", (_, *_):
            return choice(numbers)
        case "beta", (a, b, low, high) if a >= 1 and b >= 1 and low < high:

            def density(p: Float[np.ndarray, " K"]) -> Float[np.ndarray, " K"]:
                u = (p - low) / (high - low)
                return u ** (a - 1) * (1 - u) ** (b - 1)

            return from_density(density, low, high, name=spec)
    raise ConfigError(
        f"a law must be fixed:P, uniform:LOW,HIGH, choice:P,P,... or beta:A,B,LOW,HIGH (A, B >= 1), got {spec}"
    )


def _gauss(name: str, diagonal: Float[np.ndarray, " K"], off: Float[np.ndarray, " J"], high: float) -> MaskLaw:
    nodes, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1))
    return MaskLaw(name, nodes, vectors[0] ** 2, high)
