"""AdamW, or Muon beside it, the learning-rate schedule, and the guard against bad steps."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dnar2mae.config import OptimizerConfig
from dnar2mae.distributed import full_tensor, local_shard
from dnar2mae.training.muon import MuonAndAdamW

_MEMORY = 0.98  # weight of the past in the running mean of gradient norms


def build_optimizer(model: nn.Module, config: OptimizerConfig, dtype: torch.dtype = torch.float32) -> torch.optim.AdamW:
    """Return fused AdamW, with weight decay for matrices but not for norms, biases and embedding tables.

    In a table a step has a gradient for the rows of its own tokens only: decay would shrink the rows of rare tokens
    and genes towards zero, the more the rarer they are. With ``muon_lr`` the matrices between embedding and head
    are trained by Muon.

    Parameters
    ----------
    model
        Its layers are under ``encoder`` and ``decoder``.
    config
        Rates, decay, betas.
    dtype
        Type in which Muon's matrix products run.
    """
    tables = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)}
    inner: list[Tensor] = []
    outer: list[Tensor] = []
    vectors: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2 or id(parameter) in tables:
            vectors.append(parameter)
        else:
            by_muon = config.muon_lr is not None and ".layers." in name
            (inner if by_muon else outer).append(parameter)
    groups = [
        {"params": outer, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    settings = {"lr": config.lr, "betas": (config.beta1, config.beta2), "fused": True}
    if config.muon_lr is None:
        return torch.optim.AdamW(groups, **settings)  # type: ignore[arg-type]
    factor = config.muon_lr / config.lr
    muon = {"params": inner, "lr": config.muon_lr, "lr_factor": factor, "weight_decay": config.weight_decay}
    return MuonAndAdamW(muon, groups, dtype=dtype, **settings)


def learning_rate(step: int, total_steps: int, config: OptimizerConfig) -> float:
    """Return the learning rate of a step (0-based): linear warm-up, then the schedule."""
    warmup = min(config.warmup_steps, total_steps)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    progress = (step - warmup) / max(total_steps - warmup, 1)
    floor = config.final_lr_share
    match config.schedule:
        case "cosine":
            share = floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2
        case "wsd":
            left = (1 - progress) / config.decay_share if config.decay_share else 1.0
            share = floor + (1 - floor) * min(left, 1.0)
        case _:
            share = 1.0
    return config.lr * share


def last_stable_step(total_steps: int, config: OptimizerConfig) -> int:
    """Return up to which step a longer run has the same learning rates; ``total_steps`` if all are the same."""
    if total_steps < config.warmup_steps:  # the warm-up was cut short
        return 0
    if config.schedule == "constant" or (config.schedule == "wsd" and not config.decay_share):
        return total_steps
    warmup = config.warmup_steps
    return warmup + int((1 - config.decay_share) * (total_steps - warmup)) if config.schedule == "wsd" else 0


def scale_and_clip(
    parameters: Sequence[Tensor], factor: Tensor, clip: float, *, mean: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Multiply all gradients by a factor, and clip them by the norm of the mean gradient; the host never waits.

    The norm that ``clip`` limits is that of the gradient of the step's mean loss. A step may weigh more than others
    (because it predicts more tokens): its gradient is longer for that reason alone, and clipping by its own norm would
    take the weight away again.

    Parameters
    ----------
    parameters
        Parameters with gradients.
    factor
        Scalar tensor that turns the accumulated gradient into the one that the optimizer gets.
    clip
        Largest norm of the mean gradient; 0 for no clipping.
    mean
        Scalar tensor that turns it into the gradient of the mean loss; by default ``factor``.

    Returns
    -------
    norm
        Norm of the mean gradient before clipping.
    clipped
        Whether it was clipped.
    """
    grads = [p.grad for p in parameters if p.grad is not None]
    norm = full_tensor(torch.nn.utils.get_total_norm(grads)) * (factor if mean is None else mean)
    shorter = clip / (norm + 1e-6) if clip else torch.ones_like(norm)
    torch._foreach_mul_([local_shard(grad) for grad in grads], factor * shorter.clamp(max=1.0))
    return norm, shorter < 1


class StepGuard:
    """A guard that skips steps whose gradient is not finite or spikes, without host synchronisation.

    Parameters
    ----------
    optimizer
        Fused, since it then reads on the device whether to skip a step.
    spike
        Skip a step whose gradient norm is this many times the running mean; None skips only what is not finite.
    device
        Device of the model.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, spike: float | None, device: torch.device) -> None:
        self.optimizer, self.spike = optimizer, spike
        self.mean_norm, self.in_a_row = torch.zeros(2, device=device)

    def step(self, norm: Tensor, is_empty: Tensor) -> Tensor:
        """Step, unless the norm is not finite or spikes; return how many steps in a row were skipped.

        A step that has nothing to predict is skipped too, without being counted: AdamW would go on along its moments,
        and decay the weights.
        """
        bad = ~norm.isfinite()
        if self.spike is not None:
            bad |= (self.mean_norm > 0) & (norm > self.spike * self.mean_norm)
        bad &= ~is_empty
        updated = torch.where(self.mean_norm > 0, _MEMORY * self.mean_norm + (1 - _MEMORY) * norm, norm)
        self.mean_norm = torch.where(bad | is_empty, self.mean_norm, updated)
        self.in_a_row = torch.where(is_empty, self.in_a_row, torch.where(bad, self.in_a_row + 1, 0.0))
        # Fused AdamW reads these attributes on the device (they are meant for gradient scalers): an ``if`` on the
        # host would have to wait for the norm.
        self.optimizer.found_inf, self.optimizer.grad_scale = (bad | is_empty).float(), None  # type: ignore[attr-defined]
        self.optimizer.step()
        return self.in_a_row

    def state(self) -> list[float]:
        """Return the state that a resumed run restores, as JSON values."""
        return [self.mean_norm.item(), self.in_a_row.item()]

    def restore(self, state: Sequence[float]) -> None:
        """Restore what :meth:`state` returned."""
        self.mean_norm, self.in_a_row = self.mean_norm.new_tensor(list(state))
