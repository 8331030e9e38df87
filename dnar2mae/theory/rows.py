r"""The masked rows of a sample, and the averages of them that the risk needs.

A sample x gives M rows w = t (x o z) with target y, z_j ~ Bernoulli(q), q = 1 - p. Given their ratios p, rows
have E ww' = q^2 t^2 S + p q t^2 D with D = diag S, so a row is a triple of numbers

    q = sqrt(omega) t (1 - p),    b = omega t^2 p (1 - p),    y = sqrt(omega),

omega being its weight in the loss. With s1 = tr SQ / n and s2 = tr DQ / n (Q: the resolvent), the rows of one
sample interact through the M x M matrix

    G = (iota I + (s1 q q' + s2 diag b) / M)^{-1},    iota = 1, or 0 in the ridgeless limit with d > rows,

and the risk needs ten averages over samples, gathered in :class:`Couplings`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import comb, factorial, prod
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from dnar2mae.errors import ConfigError
from dnar2mae.mask_laws import MaskLaw
from dnar2mae.theory.options import Masking
from dnar2mae.theory.shapes import PerCell

# most multisets of rows over which samples with several masks are averaged: larger quadratures are compressed
_MAX_CLASSES = 1000


Drawn = TypeVar("Drawn", bound="_DrawnMasks")
_Rule = tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]
"""Nodes and weights of a quadrature."""


def row_triples(ratios: Float[np.ndarray, "*K"], masking: Masking) -> tuple[Float[np.ndarray, "*K"], ...]:
    """Return q, b, y of the rows that given ratios make (see the module's formula), and how probable each row is."""
    visible = 1 - ratios
    gain = 1 / visible if masking.scale == "inv" else np.ones_like(ratios)
    weight = 1 / ratios if masking.loss == "masked-mean" else np.ones_like(ratios)
    present = np.ones_like(ratios) if masking.loss == "rows" else ratios
    root = np.sqrt(weight)
    return root * gain * visible, weight * gain**2 * ratios * visible, root, present


def effective_ratio(law: MaskLaw, masking: Masking) -> float:
    """Return the fixed ratio to which a law is equivalent when every sample is shown under very many masks.

    With omega the weight of a row in the loss (the probability that it exists included),

        p_eff = E[omega b] / E[omega (q^2 + b)]:   E[p q] / E[q] for all rows,   E[p^2 q] / E[p q] for masked
        entries,

    and p_eff / (1 - p_eff) = E[p / q] for rescaled inputs, all rows. Every predictor that is linear in the
    masked input then has the same expected loss, up to a factor and a constant, as at fixed p_eff.

    Raises
    ------
    ConfigError
        If inputs are rescaled by 1 / (1 - p) and the law's ratios reach 1, or the law never masks under a
        masked loss.
    """
    _check_law(law, masking, allow_one=masking.scale == "none")
    q, b, _, present = row_triples(law.nodes, masking)
    weight = law.weights * present
    return float(weight @ b / (weight @ (q**2 + b)))


class Couplings(NamedTuple):
    """Averages over samples, each an array over cells (u_q = Gq, u_y = Gy)."""

    a: PerCell
    """A = E q'Gq / M, the weight of S in the inverse resolvent."""
    b: PerCell
    """B = E sum_m b_m G_mm / M, the weight of D."""
    c: PerCell
    """C = E q'Gy / M, the weight of the target."""
    aa: PerCell
    """E (q'Gq)^2 / M^2."""
    ac: PerCell
    """E (q'Gq)(q'Gy) / M^2."""
    cc: PerCell
    """E (q'Gy)^2 / M^2."""
    ab: PerCell
    """E sum b u_q^2 / M^2."""
    bc: PerCell
    """E sum b u_q u_y / M^2."""
    by: PerCell
    """E sum b u_y^2 / M^2."""
    bb: PerCell
    """E sum b_m G_mm'^2 b_m' / M^2."""


@dataclass(frozen=True, eq=False)
class _DrawnMasks:
    """Samples of K kinds, by the ratio of each of their M masks."""

    weight: Float[np.ndarray, "P K"]
    q: Float[np.ndarray, "P K *M"]
    b: Float[np.ndarray, "P K *M"]
    y: Float[np.ndarray, "P K *M"]

    @property
    def size(self) -> int:
        """Size of the arrays of each law."""
        return prod(self.q.shape[1:])

    def take(self: Drawn, index: Int[np.ndarray, " N"]) -> Drawn:
        """Select laws; one may be selected several times."""
        return type(self)(self.weight[index], self.q[index], self.b[index], self.y[index])


class OneMask(_DrawnMasks):
    """One mask a sample: G is the number 1 / (iota + q^2 s1 + b s2)."""

    @property
    def per_sample(self) -> PerCell:
        """Expected number of rows of a sample."""
        return self.weight.sum(1)

    def couplings(self, s1: PerCell, s2: PerCell, iota: PerCell) -> Couplings:
        """Average over samples."""
        a, b, c = self.q**2, self.b, self.q * self.y
        g = 1 / (iota[:, None] + a * s1[:, None] + b * s2[:, None])
        wg = self.weight * g
        ag, bg, cg = a * wg, b * wg, c * wg
        a, b, c = a * g, b * g, c * g
        pairs = ((ag, a), (ag, c), (cg, c), (ag, b), (bg, c), (bg, self.y**2 * g), (bg, b))
        return Couplings(ag.sum(1), bg.sum(1), cg.sum(1), *(np.einsum("pk,pk->p", u, v) for u, v in pairs))


class SeveralMasks(_DrawnMasks):
    """M masks a sample with independent ratios; G by the Sherman-Morrison formula. Absent rows are zeros."""

    @property
    def per_sample(self) -> PerCell:
        """Expected number of rows of a sample."""
        return np.einsum("pk,pkm->p", self.weight, self.y > 0)

    def couplings(self, s1: PerCell, s2: PerCell, iota: PerCell) -> Couplings:
        """Average over samples."""
        q, b, y = self.q, self.b, self.y
        num_masks = q.shape[2]
        # G is the inverse of a diagonal and a matrix of rank 1; an absent row, all zeros, gets 1 to divide by
        diagonal = np.where(y > 0, iota[:, None, None] + b * s2[:, None, None] / num_masks, 1.0)
        v = q / diagonal
        slope = s1[:, None] / num_masks
        z = slope / (1 + slope * _sum(q, v))
        u_q = v * (z / slope)[..., None]
        u_y = y / diagonal - v * (z * _sum(v, y))[..., None]
        g = 1 / diagonal - z[..., None] * v**2
        qq, qy, bv = _sum(q, u_q), _sum(q, u_y), z * _sum(b, v**2)
        bb = bv**2 + _sum(b**2, g**2 - (z[..., None] * v**2) ** 2)
        linear = (qq, _sum(b, g), qy)
        pairs = (qq**2, qq * qy, qy**2, _sum(b, u_q**2), _sum(b, u_q * u_y), _sum(b, u_y**2), bb)
        means = [np.einsum("pk,pk->p", self.weight, value) for value in (*linear, *pairs)]
        return Couplings(*(m / num_masks for m in means[:3]), *(m / num_masks**2 for m in means[3:]))


@dataclass(frozen=True, eq=False)
class EveryMask:
    """The expectation over masks: a ridge of E[b] D beside the rows sqrt(a) x, a = E q^2 and c = E q y."""

    a: PerCell
    b: PerCell
    c: PerCell
    size: int = 1

    @property
    def per_sample(self) -> PerCell:
        """Expected number of rows of a sample."""
        return np.full(len(self.a), np.inf)

    def take(self, index: Int[np.ndarray, " N"]) -> "EveryMask":
        """Select laws; one may be selected several times."""
        return EveryMask(self.a[index], self.b[index], self.c[index])

    def couplings(self, s1: PerCell, s2: PerCell, iota: PerCell) -> Couplings:
        """Average over samples."""
        g = 1 / (iota + self.a * s1)
        a, c, zero = self.a * g, self.c * g, np.zeros_like(g)
        return Couplings(a, self.b, c, a * a, a * c, c * c, zero, zero, zero, zero)


Rows = OneMask | SeveralMasks | EveryMask
"""The rows of samples under a few laws of equal complexity."""


def group_rows(laws: Sequence[MaskLaw], masking: Masking) -> Iterator[tuple[Int[np.ndarray, " N"], Rows]]:
    """Gather laws that can be solved together.

    Yields
    ------
    tuple
        Positions in ``laws`` and their rows, in that order.

    Raises
    ------
    ConfigError
        If a law can mask every feature, never masks under a masked loss, or mixes ratio 0 with others where
        samples have several masks.
    """
    groups: dict[tuple[bool, int], list[int]] = {}
    for position, law in enumerate(laws):
        _check_law(law, masking)
        unmasked = bool(np.all(law.nodes == 0))
        groups.setdefault((unmasked, len(law.nodes)), []).append(position)
    for (unmasked, _), positions in groups.items():
        members = [laws[i] for i in positions]
        # without masks the M rows of a sample are equal, and count as one
        num_masks = 1 if unmasked else masking.num_masks
        if num_masks == "inf":
            yield np.array(positions), _every_mask(members, masking)
        elif num_masks == 1:
            yield np.array(positions), _one_mask([(law.nodes, law.weights) for law in members], masking)
        else:
            yield np.array(positions), _several_masks(members, masking, num_masks)


def require_visible(law: MaskLaw) -> None:
    """Raise an error for a law whose ratios reach 1.

    Raises
    ------
    ConfigError
        If the law can mask every feature: such rows carry no information and break the theory's assumptions.
    """
    if law.largest >= 1:
        raise ConfigError(f"the law {law.name} can mask every feature: its ratios must stay below 1")


def _check_law(law: MaskLaw, masking: Masking, allow_one: bool = False) -> None:
    if not allow_one:
        require_visible(law)
    zeros: Bool[np.ndarray, " K"] = law.nodes == 0
    if masking.loss != "rows" and zeros.any():
        raise ConfigError(f"a loss on masked entries needs mask ratios > 0, got {law.name}")
    if masking.num_masks not in (1, "inf") and zeros.any() and not zeros.all():
        raise ConfigError(f"with several masks per sample, ratio 0 cannot be mixed with others, got {law.name}")


def _one_mask(rules: list[_Rule], masking: Masking) -> OneMask:
    q, b, y, present = row_triples(np.stack([nodes for nodes, _ in rules]), masking)
    return OneMask(np.stack([weights for _, weights in rules]) * present, q, b, y)


def _every_mask(laws: list[MaskLaw], masking: Masking) -> EveryMask:
    rows = _one_mask([(law.nodes, law.weights) for law in laws], masking)
    a, b, c = ((rows.weight * value).sum(1) for value in (rows.q**2, rows.b, rows.q * rows.y))
    return EveryMask(a, b, c)


def _several_masks(laws: list[MaskLaw], masking: Masking, num_masks: int) -> SeveralMasks:
    num_nodes = len(laws[0].nodes)
    while num_nodes > 2 and comb(num_nodes + num_masks, num_masks) > _MAX_CLASSES:
        num_nodes -= 1
    rows = _one_mask([compress(law.nodes, law.weights, num_nodes) for law in laws], masking)
    # one more state, the absent row; the order of a sample's rows does not matter, so classes are multisets
    absent = np.maximum(1 - rows.weight.sum(1, keepdims=True), 0)
    probability = np.column_stack([rows.weight, absent])
    classes = np.array(list(combinations_with_replacement(range(rows.size + 1), num_masks)))
    orders = [factorial(num_masks) // prod(factorial(c) for c in np.bincount(row).tolist()) for row in classes]
    weight = np.prod(probability[:, classes], axis=2) * np.array(orders, float)
    used = weight.max(0) > 0
    q, b, y = (np.pad(value, ((0, 0), (0, 1)))[:, classes[used]] for value in (rows.q, rows.b, rows.y))
    return SeveralMasks(weight[:, used], q, b, y)


def compress(
    nodes: Float[np.ndarray, " K"], weights: Float[np.ndarray, " K"], num_nodes: int
) -> tuple[Float[np.ndarray, " J"], Float[np.ndarray, " J"]]:
    """Reduce a quadrature to a Gauss rule, exact for polynomials of degree < 2 num_nodes.

    References
    ----------
    .. [1] Golub, Welsch, "Calculation of Gauss quadrature rules", Math. Comp. 1969.
    """
    if len(nodes) <= num_nodes:
        return nodes, weights
    basis = np.sqrt(weights)[:, None]
    diagonal, off = [], []
    # Lanczos on diag(nodes), with full orthogonalisation
    for _ in range(num_nodes):
        step = nodes * basis[:, -1]
        diagonal.append(float(step @ basis[:, -1]))
        step = step - basis @ (basis.T @ step)
        off.append(float(np.linalg.norm(step)))
        basis = np.column_stack([basis, step / off[-1]])
    few, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(off[:-1], 1) + np.diag(off[:-1], -1))
    return few, vectors[0] ** 2


def _sum(left: Float[np.ndarray, "P K M"], right: Float[np.ndarray, "P K M"]) -> Float[np.ndarray, "P K"]:
    return np.einsum("pkm,pkm->pk", left, right)
