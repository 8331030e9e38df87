"""How much worse than the best a law can be: its regret over settings and test ratios."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from dnar2mae.mask_laws import Fixed, MaskLaw, parse_law
from dnar2mae.theory.phase import LAWS_AT_ONCE, LOWEST_RATIO, RiskTable, fixed_grid, lowest_risks, uniform_grid
from dnar2mae.theory.rows import compress

STANDARD_LAWS = (
    "uniform:0.1,0.9",
    "uniform:0.3,0.9",
    "uniform:0.01,0.95",
    "fixed:0.15",
    "fixed:0.3",
    "fixed:0.5",
    "fixed:0.6",
    "fixed:0.75",
)
# test ratios that stand for a law with many; coarser candidates than a map's, since a regret is read to 0.1 %
_TEST_RATIOS, _FIXED_RATIOS, _UNIFORM_STEP = 5, 100, 0.1


def parse_laws(names: Sequence[str]) -> list[MaskLaw]:
    """Read laws, each once; ``standard`` stands for eight that are often used."""
    laws = [parse_law(text) for name in names for text in (STANDARD_LAWS if name == "standard" else [name])]
    return list({law.name: law for law in laws}.values())


def regrets(
    table: Callable[[MaskLaw], RiskTable],
    test: MaskLaw,
    aspects: Float[np.ndarray, " G"],
    noises: Float[np.ndarray, " N"],
    laws: Sequence[MaskLaw],
) -> list[dict[str, Any]]:
    """Return the mean and the largest regret of each law, in per cent of the best test error.

    Parameters
    ----------
    table
        Returns the risks at a law of the test ratio.
    test
        Its ratios, one by one; those of a law with many are represented by five.
    aspects, noises
        The settings, for a signal of variance 1.
    laws
        The best is the best of them, of 100 fixed ratios and of the uniform laws on a grid of 0.1.

    Returns
    -------
    list
        A row a law: its error, noise included, over the lowest one at that setting and test ratio, less 1.
    """
    candidates = [*laws, *fixed_grid(_FIXED_RATIOS, LOWEST_RATIO), *uniform_grid(_UNIFORM_STEP, LOWEST_RATIO)]
    ratios, weights = compress(test.nodes, test.weights, _TEST_RATIOS)
    over_best = []
    for ratio in ratios.tolist():
        risks = _errors(table(Fixed(ratio)), candidates, aspects, noises)
        lowest = risks.min(0)
        over_best.append(risks[: len(laws)] / np.where(np.isfinite(lowest), lowest, np.nan) - 1)
    mean, worst = [], []
    for law in np.moveaxis(np.array(over_best), 1, 0):
        known = ~np.isnan(law)  # NaN at a peak that all laws share, infinite at one of this law
        chance = np.broadcast_to(weights[:, None, None], law.shape)[known]
        mean.append(100 * float(chance @ law[known] / chance.sum()))
        worst.append(100 * float(law[known].max()))
    return [
        {"law": law.name, "mean_regret": low, "worst_regret": high}
        for law, low, high in zip(laws, mean, worst, strict=True)
    ]


def _errors(
    table: RiskTable, laws: Sequence[MaskLaw], aspects: Float[np.ndarray, " G"], noises: Float[np.ndarray, " N"]
) -> Float[np.ndarray, "L G N"]:
    """Return test errors of targets with signal variance 1, noise included."""
    parts = [table(laws[i : i + LAWS_AT_ONCE], aspects) for i in range(0, len(laws), LAWS_AT_ONCE)]
    base, slope = (np.concatenate(part) for part in zip(*parts, strict=True))
    return np.stack([lowest_risks(base[:, g], slope[:, g], noises) for g in range(len(aspects))], axis=1) + noises
