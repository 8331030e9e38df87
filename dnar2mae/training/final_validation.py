"""The final scores of a run: losses by mask ratio and of trivial models, at the same masks of the same samples."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float64, Int

from dnar2mae.batch import FiniteSource, evenly_spaced
from dnar2mae.masking import MaskPlan, fixed_masks
from dnar2mae.masking.draw import RATIO
from dnar2mae.modalities.contract import Modality
from dnar2mae.scoring.blocks import ratio_of_sums
from dnar2mae.training.validation import CURVE

Sums = Float64[np.ndarray, "2 S"]


def final_validation(
    modality: Modality,
    plan: MaskPlan,
    num_samples: int,
    measure: Callable[[FiniteSource, MaskPlan, Int[np.ndarray, " S"]], Sums],
) -> dict[str, Any]:
    """Score a model and the trivial models it is compared with.

    Parameters
    ----------
    modality
        Has the held-out samples and the trivial models.
    plan
        Any plan of the run: its ratio is replaced.
    num_samples
        Evenly spaced held-out samples to use, at most.
    measure
        The model's :func:`dnar2mae.training.validation.masked_sums`.

    Returns
    -------
    dict
        Fields of :class:`dnar2mae.run.result.RunResult`.
    """
    plans = [fixed_masks(plan, ratio) for ratio in CURVE]
    source = modality.validation
    sample_ids = evenly_spaced(len(source), num_samples)
    losses = [measure(source, fixed, sample_ids) / [[modality.unit_size], [1]] for fixed in plans]
    by_ratio = [ratio_of_sums(*sums) for sums in losses]
    at = CURVE.index(RATIO)
    held_out = by_ratio[at]
    scores: dict[str, Any] = {
        "held_out": held_out.value,
        "standard_error": held_out.standard_error,
        "samples": {"used": len(sample_ids), "held_out": len(source)},
        "curve": {str(ratio): estimate.value for ratio, estimate in zip(CURVE, by_ratio, strict=True)},
        "yardstick": modality.yardstick(),
        "yardstick_curve": {},
        "margin": {},
    }
    for family in modality.masked_yardsticks(plans, sample_ids).values():
        values = {name: sums.sum(axis=1) / [units.sum() for _, units in losses] for name, sums in family.items()}
        scores["yardstick"] |= {name: float(value[at]) for name, value in values.items()}
        best = min(values, key=lambda name: values[name][at])
        scores["yardstick_curve"][best] = dict(zip(scores["curve"], values[best].tolist(), strict=True))
        scores["margin"][best] = _margin(losses[at], family[best][at])
    if scores["yardstick"] and not scores["margin"]:  # without losses by sample there is no standard error
        best = min(scores["yardstick"], key=scores["yardstick"].get)
        scores["margin"] = {best: {"below_by": scores["yardstick"][best] - held_out.value, "standard_error": None}}
    return scores


def _margin(model: Sums, yardstick: Float64[np.ndarray, " S"]) -> dict[str, float]:
    """Return how far the model is below a trivial one, and the standard error of that, paired by sample."""
    loss, units = model
    difference = ratio_of_sums(yardstick - loss, units)
    return {"below_by": difference.value, "standard_error": difference.standard_error}
