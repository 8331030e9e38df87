r"""A masked model as a density: the area under its curve of loss by mask ratio bounds its bits per base from above.

.. math::
    -\log p(x) \le \int_0^1 \frac{1}{r}\, \mathrm{E} \sum_{i\ \mathrm{masked}} \ell_i \, dr
    = \frac{1}{L} \sum_{k=1}^{L} \mathrm{E}[L\, \bar\ell_k],

with each of L tokens masked by itself with probability r, and the mean loss of k masked tokens on the right. That side
is also what the model needs on average to write the tokens down one by one, in an order drawn at random.

References
----------
.. [1] Shi et al., "Simplified and generalized masked diffusion for discrete data", arXiv 2406.04329, equation 5.
.. [2] Ou et al., "Your absorbing discrete diffusion secretly models the conditional distributions of clean data",
   arXiv 2406.03736 (the equality with orders drawn at random).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from dnar2mae.batch import Batch, FiniteSource, evenly_spaced
from dnar2mae.config import MaskConfig
from dnar2mae.masking import Masker, MaskPlan, fixed_masks, plans_of_bound
from dnar2mae.modalities.contract import Modality
from dnar2mae.models.head import Head, TokenHead
from dnar2mae.scoring.blocks import Estimate, ratio_of_sums

FAR_CURVE = (0.85, 0.95)
"""Mask ratios by which the curve of loss by ratio is drawn further, where the area under it means something."""
PAIRS = 1
"""Antithetic pairs of masks of each sample in the report of a run."""
PASSES = 2 * PAIRS + len(FAR_CURVE)
"""Passes over the samples for :func:`report_bound`."""
_FAR = FAR_CURVE[-1]  # a law that ends below it leaves part of the area untrained

Measure = Callable[[FiniteSource, MaskPlan, Int[np.ndarray, " S"]], Float64[np.ndarray, "6 S"]]
"""The model's :func:`dnar2mae.training.validation.masked_sums`."""


def why_no_bound(head: Head, mask: MaskConfig) -> str | None:
    """Return why the area under a run's curve is no bound on its bits; None if it is one."""
    if not isinstance(head, TokenHead):
        return "its head predicts numbers, not probabilities of tokens"
    if mask.placement != "independent":
        return f"it was trained with --mask.placement {mask.placement}, and the bound is one of independent masks"
    return None


def extrapolated(mask: MaskConfig) -> str:
    """Return that a law never trains at high ratios, by name; empty where it does."""
    law = mask.ratio_law()
    return f"{law.name} never trains above {law.largest:g}" if law.largest < _FAR else ""


def bound_of(sums: Float64[np.ndarray, "K 6 S"], unit_size: float = 1.0, *, copies: bool = False) -> Estimate:
    """Estimate the area from the sums of samples under plans of :func:`dnar2mae.masking.plans_of_bound`.

    A ratio that is uniform in (0, 1) masks each number of tokens equally often. So the mean loss of a sample's masked
    tokens, at whatever ratio, is an unbiased estimate of its area; where no token is masked it is left out.

    Parameters
    ----------
    sums
        Rows of :func:`dnar2mae.training.validation.masked_sums`, for each plan.
    unit_size
        See :class:`dnar2mae.modalities.contract.Modality`.
    copies
        Take the losses with copies.

    Returns
    -------
    Estimate
        In the modality's unit, with the standard error over blocks of samples.
    """
    loss, _, masked, maskable, units, with_copies = sums.swapaxes(0, 1)
    whole = (with_copies if copies else loss) / np.maximum(masked, 1) * maskable
    return ratio_of_sums(whole.sum(0) / unit_size, (units * (masked > 0)).sum(0))


def weights_of_bound(
    masker: Masker, plan: MaskPlan, step: int, batch: Batch, index: Int[Tensor, " M"]
) -> Float[Tensor, " M"]:
    r"""Return by how much the losses of a training step count, so that they sum to L times the area for each sample.

    With k of a sample's L maskable tokens masked at a ratio r that the law draws with density q(r),

    .. math:: \frac{L + 1}{L} \, \frac{1}{q(r)} \, \frac{1}{k} \sum_{i\ \mathrm{masked}} \ell_i

    has the area as its expectation: under a uniform ratio every k from 0 to L is as likely as any other. Unlike weights
    1/r it is never large. Of overlapping tokens only anchors are predicted, and L is the number of these.

    Parameters
    ----------
    masker
        Of the run.
    plan, step
        The step and its plan.
    batch
        Samples.
    index
        Predicted tokens, as positions in ``tokens.flatten()``.
    """
    row = index // batch.tokens.shape[1]
    anchors = batch.maskable.sum(1) / plan.anchor_stride
    masked = torch.zeros_like(anchors).index_add_(0, row, torch.ones_like(row, dtype=anchors.dtype))
    of_sample = masker.importance(plan, step, batch.sample_ids) * (anchors + 1) / masked.clamp(min=1)
    return (of_sample * plan.anchor_stride)[row]


def sample_bounds(
    measure: Measure, source: FiniteSource, plan: MaskPlan, sample_ids: Int[np.ndarray, " S"], pairs: int
) -> Float64[np.ndarray, "K 6 S"]:
    """Score samples under ``pairs`` antithetic pairs of masks each; :func:`bound_of` takes the result."""
    return np.stack([measure(source, part, sample_ids) for part in plans_of_bound(plan, pairs)])


def report_bound(
    modality: Modality,
    head: Head,
    mask: MaskConfig,
    plan: MaskPlan,
    sample_ids: Int[np.ndarray, " S"],
    *,
    measure: Measure,
) -> dict[str, Any]:
    """Return the field ``bound`` of a run's result, on the samples of the rest of its report.

    Returns
    -------
    dict
        ``value``, ``standard_error``, ``extrapolated`` (which ratios the law never trains; empty if it does),
        ``curve``, the loss at further ratios, and, where there are any, ``with_copies``, the value and its standard
        error with copies; or only ``not_reported``, the reason.
    """
    if reason := why_no_bound(head, mask):
        return {"not_reported": reason}
    source = modality.validation
    sums = sample_bounds(measure, source, plan, sample_ids, PAIRS)
    value, error = bound_of(sums, modality.unit_size)
    has_copies = not np.array_equal(sums[:, 0], sums[:, 5])
    copied = {"with_copies": bound_of(sums, modality.unit_size, copies=True)._asdict()} if has_copies else {}
    return {
        "value": value,
        "standard_error": error,
        "extrapolated": extrapolated(mask),
        "curve": {str(ratio): _loss(modality, measure, plan, sample_ids, ratio) for ratio in FAR_CURVE},
        **copied,
    }


def running_bound(
    modality: Modality, head: Head, mask: MaskConfig, plan: MaskPlan, num_samples: int, *, measure: Measure
) -> dict[str, float]:
    """Return ``bound`` and ``bound_error`` for a validation during a run; nothing where the law does not reach far.

    One pair of masks for every other sample: one more pass over as many samples as the rest of the validation has.
    """
    if why_no_bound(head, mask) or extrapolated(mask):
        return {}
    sample_ids = evenly_spaced(len(modality.validation), max(num_samples // 2, 1))
    value, error = bound_of(sample_bounds(measure, modality.validation, plan, sample_ids, 1), modality.unit_size)
    return {"bound": value, "bound_error": error}


def _loss(
    modality: Modality, measure: Measure, plan: MaskPlan, sample_ids: Int[np.ndarray, " S"], ratio: float
) -> float:
    """Return the loss at a fixed ratio."""
    loss, units, *_ = measure(modality.validation, fixed_masks(plan, ratio), sample_ids)
    return ratio_of_sums(loss / modality.unit_size, units).value
