"""Fixed and random ratios under few masks a sample, for the predictor that sees the visible share: simulation only."""

import numpy as np

from dnar2mae.mask_laws import Fixed, MaskLaw, Uniform
from dnar2mae.theory.task import Task
from dnar2mae.theory.visible_simulation import FittedPredictor, Predictor, simulate_few_masks

FAMILIES: dict[str, tuple[MaskLaw, ...]] = {
    "fixed": tuple(Fixed(ratio) for ratio in (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75)),
    "uniform": tuple(
        Uniform(*ends) for ends in ((0, 0.2), (0, 0.4), (0, 0.6), (0, 0.9), (0.1, 0.9), (0.3, 0.9), (0.2, 0.6))
    ),
}
_RIDGES = (0.0, *np.geomspace(1e-3, 3, 12).tolist())
_CLEAN = Fixed(0.0)
_PREDICTORS: tuple[Predictor, ...] = ("plain", "share")


def compare_few_masks(task: Task, aspect: float, num_masks: int, test: MaskLaw, repetitions: int) -> list[str]:
    """Return a table: predictor, ridge, what is tested, and the best law of each family.

    Laws and ridges are chosen on the first half of the repetitions and judged on the second, whose standard error
    is given.
    """
    head = f"{'predictor':10}{'ridge':11}{'test':7}"
    lines = [head + "".join(f"{family:>36}" for family in FAMILIES) + f"{'uniform - fixed':>22}"]
    for predictor in _PREDICTORS:
        fit = FittedPredictor(predictor, _RIDGES, (_CLEAN, test))
        risks = {
            family: np.array(
                [simulate_few_masks(task, laws, aspect, fit, seed, num_masks=num_masks) for seed in range(repetitions)]
            )
            for family, laws in FAMILIES.items()
        }
        for ridge, count in (("none", 1), ("tuned", len(_RIDGES))):
            for t, name in enumerate(("clean", "mean")):
                lines.append(f"{predictor:10}{ridge:11}{name:7}" + _cells(risks, count, t))
    return lines


def _cells(risks: dict[str, np.ndarray], num_ridges: int, test: int) -> str:
    """Return the held-out risks of the chosen laws and their paired difference."""
    text, held_out = "", []
    for family, values in risks.items():
        seen = values[:, :, :num_ridges, test]
        half = len(seen) // 2
        mean = seen[:half].mean(0)
        law, ridge = np.unravel_index(mean.argmin(), mean.shape)
        held_out.append(seen[half:, law, ridge])
        text += f"{held_out[-1].mean():9.3f} at {FAMILIES[family][law].name:16} ({_interval(held_out[-1]):.3f})"
    gap = held_out[1] - held_out[0]
    return f"{text}{gap.mean():+12.3f} ({_interval(gap):.3f})"


def _interval(values: np.ndarray) -> float:
    """Return the standard error of a mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))
