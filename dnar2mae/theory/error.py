"""How far theory is from simulation, by the kind of row."""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from dnar2mae.mask_laws import Choice, Fixed, MaskLaw, Uniform
from dnar2mae.theory.equivalents import risk_equivalent
from dnar2mae.theory.monte_carlo import simulate
from dnar2mae.theory.options import FeatureModel, Masking
from dnar2mae.theory.task import Task
from dnar2mae.theory.visible import share_equivalent
from dnar2mae.theory.visible_simulation import FittedPredictor, Predictor, simulate_every_mask

COVARIANCES = ("isotropic", "ar1:0.8", "spiked:0.05,50", "power:1")
ASPECTS = (0.3, 0.7, 1.4, 4.0)
"""Away from the interpolation peaks of all rows, d / n = 1."""
LAWS: tuple[MaskLaw, ...] = (Fixed(0.15), Fixed(0.5), Uniform(0.1, 0.9), Uniform(0.2, 0.6))
TESTS: tuple[MaskLaw, ...] = (Fixed(0.0), Choice((0.0, 0.25, 0.5, 0.75)))
"""Nothing masked, and a mean over ratios."""
RIDGES = (0.0, 0.1)
NOISE = 0.5
_ONE_MASK: tuple[tuple[Literal["rows", "masked"], Literal["none", "inv"]], ...] = (
    ("rows", "none"),
    ("rows", "inv"),
    ("masked", "none"),
    ("masked", "inv"),
)
_EVERY_MASK: tuple[Predictor, ...] = ("share", "bits")


def check_settings(num_features: int, seeds: range) -> Iterator[dict[str, Any]]:
    """Compare theory with simulation.

    Yields
    ------
    dict
        A setting: kind of row, covariance, d / n, law, ridge, test ratios, both risks and the standard error.
    """
    for name in COVARIANCES:
        task = FeatureModel(covariance=name, num_features=num_features).task(NOISE)
        for aspect in ASPECTS:
            about = {"covariance": name, "aspect": aspect}
            for row in (*_one_mask(task, aspect, seeds), *_every_mask(task, aspect, seeds)):
                yield about | row


def _one_mask(task: Task, aspect: float, seeds: range) -> Iterator[dict[str, Any]]:
    for loss, scale in _ONE_MASK:
        masking = Masking(loss=loss, scale=scale)
        theory = risk_equivalent(task, LAWS, _rounded(task, aspect), masking).excess[:, 0]
        found = simulate(task, LAWS, aspect, masking, seeds).excess
        for i, law in enumerate(LAWS):
            about = {"kind": loss + ("-inv" if scale == "inv" else ""), "law": law.name, "ridge": 0.0}
            yield about | {"test": TESTS[0].name} | _measured(float(theory[i]), found[:, i])


def _every_mask(task: Task, aspect: float, seeds: range) -> Iterator[dict[str, Any]]:
    for predictor in _EVERY_MASK:
        theory = _share_theory(task, aspect, predictor)
        fit = FittedPredictor(predictor, RIDGES, TESTS)
        found = np.array([simulate_every_mask(task, LAWS, aspect, fit, seed) for seed in seeds])
        for i, r, t in np.ndindex(theory.shape):
            about = {"kind": predictor, "law": LAWS[i].name, "ridge": RIDGES[r], "test": TESTS[t].name}
            yield about | _measured(float(theory[i, r, t]), found[:, i, r, t])


def _share_theory(task: Task, aspect: float, predictor: Predictor) -> np.ndarray:
    sees, counted = predictor == "share", _rounded(task, aspect)
    if predictor == "bits":  # the features' means take one sample
        counted = task.num_features / (task.num_features / counted - 1)
    base, slope = share_equivalent(task, LAWS, counted, sees_share=sees, ridges=RIDGES, tests=TESTS)
    return (base + task.noise * slope)[:, 0]


def _rounded(task: Task, aspect: float) -> float:
    """Return d / n for the whole number of samples that is simulated."""
    return task.num_features / round(task.num_features / aspect)


def _measured(theory: float, found: np.ndarray) -> dict[str, float]:
    mean = float(found.mean())
    deviation = float(found.std(ddof=1) / np.sqrt(len(found)))
    return {"theory": theory, "simulation": mean, "standard_error": deviation, "error": theory / mean - 1}
