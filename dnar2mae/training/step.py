"""One training step: masks, losses, their gradient, and the optimizer's update."""

from functools import reduce
from typing import Any

import torch
from torch import Tensor

from dnar2mae.batch import Batch
from dnar2mae.config import PretrainConfig
from dnar2mae.distributed import Ranks, local_shard, parallelise
from dnar2mae.masking import Masker, MaskPlan, mean_drawn_ratio
from dnar2mae.models import MaskedModel
from dnar2mae.training.bound import weights_of_bound
from dnar2mae.training.optimizer import StepGuard, build_optimizer, learning_rate, scale_and_clip

_TYPICAL_RATIO = 0.15  # any constant would do: it keeps gradients of sums in the range of gradients of means


class TrainingStep:
    """The training step of a model; the loss is the mean over the predicted tokens of the whole batch.

    Under ``mask.weighting = "token"`` the gradient is that of the sum over the predicted tokens, divided by the
    summed weight of the batch's maskable tokens times the share of them that the law predicts on average: the
    same divisor in every step of full samples, so that a step weighs by how many tokens it predicts.

    Under ``mask.weighting = "bound"`` it is that of an unbiased estimate of the area under the curve of loss by mask
    ratio: see :func:`dnar2mae.training.bound.weights_of_bound`.

    Parameters
    ----------
    config
        The run.
    model
        On its device; with ``--parallel fsdp`` in shards.
    masker
        Makes the mask plan of each step.
    unit_size
        Losses per reported unit; see :class:`dnar2mae.modalities.contract.Modality`.
    autocast
        Type of matrix products; None: that of the weights.
    ranks
        The processes that train together.
    """

    def __init__(
        self,
        config: PretrainConfig,
        model: MaskedModel,
        masker: Masker,
        *,
        unit_size: float,
        autocast: torch.dtype | None,
        ranks: Ranks,
    ) -> None:
        self.config, self.masker, self.unit_size = config, masker, unit_size
        self.autocast, self.ranks = autocast, ranks
        self.model, self.parameters = model, list(model.parameters())
        self.device = self.parameters[0].device
        self.optimizer = build_optimizer(model, config.optimizer, autocast or torch.float32)
        self.guard = StepGuard(self.optimizer, config.optimizer.spike, self.device)
        self.parallel = parallelise(model, config, ranks)
        self.averages: dict[str, Tensor] = {}
        if config.optimizer.ema is not None:
            self.averages = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}

    def __call__(self, step: int, batch: Batch) -> dict[str, Any]:
        """Do a step (0-based) on a batch.

        Parameters
        ----------
        step
            Number of the step, from which masks and learning rate follow.
        batch
            The samples, on the CPU.

        Returns
        -------
        dict
            ``step`` (1-based), ``loss`` (mean over predicted tokens), ``unit_loss`` (the same in the modality's unit),
            ``ratio``, ``lr``, ``grad_norm`` (of the mean loss), ``clipped``, and ``skipped``, how many steps in a row
            were skipped. Losses are NaN if nothing was predicted. Losses, norm and the last two are tensors on the
            device, which the host has not waited for.
        """
        plan = self.masker.plan(step)
        scale = batch.tokens.numel() * _TYPICAL_RATIO
        total, weight, units, maskable = self._accumulate(step, plan, batch, scale)
        self.ranks.all_sum_(total, weight, units, maskable)
        is_empty = weight == 0  # such a step must not divide by zero, though it is skipped below
        unscaled = self.ranks.size * scale * ~is_empty  # gradients are averaged over ranks
        factor = mean = unscaled / weight.clamp(min=1e-6)
        if self.config.mask.weighting == "token":
            factor = unscaled / (maskable.clamp(min=1e-6) * self.masker.expected_share)
        elif self.config.mask.weighting == "bound":
            factor = mean = unscaled / maskable.clamp(min=1e-6)
        if self.model.symmetry is not None:
            self.model.symmetry.average_((name, weight.grad) for name, weight in self.model.named_parameters())
        norm, clipped = scale_and_clip(self.parameters, factor, self.config.optimizer.clip, mean=mean)
        rate, skipped = self._update(step, norm, is_empty)
        return {
            "step": step + 1,
            "loss": total / weight,
            "unit_loss": total / units / self.unit_size,
            "ratio": mean_drawn_ratio(plan, range(step * self.config.batch_size, (step + 1) * self.config.batch_size)),
            "lr": rate,
            "grad_norm": norm,
            "clipped": clipped,
            "skipped": skipped,
        }

    def _accumulate(self, step: int, plan: MaskPlan, batch: Batch, scale: float) -> Tensor:
        """Return the sums of :meth:`_loss` over the micro-batches; accumulate the gradient of losses / ``scale``."""
        sums = []
        parts = batch.split(self.config.micro_batch or self.config.batch_size)
        for part in parts:
            with self.parallel.accumulate(part is parts[-1]):  # ranks exchange gradients once, after the last
                minimised, *counted = self._loss(step, plan, part)
                (minimised / scale).backward()
            sums.append(torch.stack(counted))
        return reduce(torch.add, sums)

    def _loss(self, step: int, plan: MaskPlan, part: Batch) -> tuple[Tensor, ...]:
        """Return what is minimised, and a micro-batch's sums without gradient.

        The sums are of weighted losses, of these weights, of the units they stand for, and of all maskable weights:
        the last, by which weighting by token or for the bound divides, is not computed otherwise.
        """
        part = part.to(self.device)
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            losses, index = self.parallel.losses(plan, part)
        weights = part.weight.flatten()[index]
        predicted = units = maskable = weights.sum()
        if part.units is not None:
            units = (weights * part.units.flatten()[index]).sum()
        losses = losses * weights
        total = minimised = losses.sum()
        if self.config.mask.weighting != "batch":
            maskable = (part.weight * part.maskable).sum()
        if self.config.mask.weighting == "bound":
            minimised = (losses * weights_of_bound(self.masker, plan, step, part, index)).sum()
        return minimised, total.detach(), predicted, units, maskable

    def _update(self, step: int, norm: Tensor, is_empty: Tensor) -> tuple[float, Tensor]:
        """Let the optimizer step; return the learning rate and how many steps in a row were skipped."""
        rate = learning_rate(step, self.config.steps, self.config.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_factor", 1.0)
        skipped = self.guard.step(norm, is_empty)
        if self.model.symmetry is not None:  # rounding has none
            self.model.symmetry.average_(self.model.named_parameters())
        self.optimizer.zero_grad()
        self._average(step)
        return rate, skipped

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """Move the averages towards the weights; early on faster, since they begin at the initial weights."""
        if self.config.optimizer.ema is not None:
            decay = min(self.config.optimizer.ema, (1 + step) / (10 + step))
            means = [local_shard(mean) for mean in self.averages.values()]
            torch._foreach_lerp_(means, [local_shard(parameter) for parameter in self.parameters], 1 - decay)
