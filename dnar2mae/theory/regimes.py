"""What laws are compared on: a loss, a predictor, and the ratios at which it is tested."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from dnar2mae.errors import ConfigError
from dnar2mae.mask_laws import Choice, Fixed, MaskLaw, parse_law
from dnar2mae.theory.equivalents import risk_equivalent
from dnar2mae.theory.monte_carlo import mask_moments
from dnar2mae.theory.options import FeatureModel, Masking, Regime
from dnar2mae.theory.phase import PerOption, RiskTable
from dnar2mae.theory.rows import require_visible
from dnar2mae.theory.task import Task
from dnar2mae.theory.uncentred import UncentredTask, positive_targets, uncentred_equivalent
from dnar2mae.theory.visible import share_equivalent

CLEAN = Fixed(0.0)
"""Test inputs with everything visible."""
RIDGES = (0.0, *np.geomspace(1e-5, 100, 113).tolist())
"""Penalties whose risks are computed for a tuned ridge: 0, then evenly spaced in the logarithm."""


def parse_test_ratios(text: str) -> MaskLaw:
    """Read the ratios at test time: numbers with commas, each equally often, or a law.

    Raises
    ------
    ConfigError
        If they cannot be read or reach 1.
    """
    try:
        law = parse_law(text) if ":" in text else Choice(tuple(float(part) for part in text.split(",")))
        require_visible(law)
    except (ValueError, ConfigError) as error:
        rule = "must be ratios in [0, 1) with commas, or a law such as uniform:0,0.9"
        raise ConfigError(f"--test-ratios {rule}, got {text}") from error
    return law


def regime_table(features: FeatureModel, regime: Regime, mean: float, test: MaskLaw = CLEAN) -> RiskTable:
    """Return the risks of a regime.

    Parameters
    ----------
    features
        Covariance and targets.
    regime
        See ``dnar2mae theory compare --help``.
    mean
        Mean of every input where inputs are not centred, in its standard deviations.
    test
        Law of the ratio at test time; ``-inv`` regimes rescale test inputs as they rescale training inputs.
    """
    kind, _, variant = regime.partition("-")
    scale: Literal["none", "inv"] = "inv" if variant == "inv" else "none"
    if kind in ("share", "bits"):
        ridges = RIDGES if variant == "ridge" else RIDGES[:1]
        # bits absorb the features' means: what is left is the plain predictor of centred features
        return every_mask_table(features.task(1.0), ridges, test, with_share=kind == "share")
    if kind != "uncentred":
        masking = Masking(scale=scale, loss="masked" if kind == "masked" else "rows")
        return centred_table(features.task(1.0), masking, test)
    matrix = features.matrix()
    target = positive_targets(matrix, 4, features.seed)
    task = UncentredTask(matrix, target, mean * np.sqrt(np.diag(matrix)), 1.0)

    def table(laws: Sequence[MaskLaw], aspects: Float[np.ndarray, " G"]) -> tuple[PerOption, PerOption]:
        base, slope = uncentred_equivalent(task, laws, aspects, scale, test)
        return base[..., None, None], slope[..., None, None]

    return table


def centred_table(task: Task, masking: Masking, test: MaskLaw = CLEAN) -> RiskTable:
    """Return the risks of the plain predictor of centred features; the task's own noise is not used."""
    second, own, first = mask_moments(test, Masking(scale=masking.scale))

    def table(laws: Sequence[MaskLaw], aspects: Float[np.ndarray, " G"]) -> tuple[PerOption, PerOption]:
        risk = risk_equivalent(task, laws, aspects, masking)
        base = second * (risk.visible + risk.visible_variance) - 2 * first * risk.overlap + risk.signal
        slope = second * risk.visible_noise
        if own > 0:  # at a peak it would be 0 times infinity
            base, slope = base + own * (risk.masked + risk.masked_variance), slope + own * risk.masked_noise
        return base[..., None, None], slope[..., None, None]

    return table


def every_mask_table(task: Task, ridges: Sequence[float], test: MaskLaw, *, with_share: bool) -> RiskTable:
    """Return the risks under every mask of the plain predictor, or of the better of it and the one with the share."""

    def table(laws: Sequence[MaskLaw], aspects: Float[np.ndarray, " G"]) -> tuple[PerOption, PerOption]:
        parts = [
            share_equivalent(task, laws, aspects, sees_share=sees, ridges=ridges, tests=[test])
            for sees in ((False, True) if with_share else (False,))
        ]
        base, slope = (np.stack([risk[..., 0] for risk in part], axis=2) for part in zip(*parts, strict=True))
        return base, slope

    return table
