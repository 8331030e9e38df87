"""AdamW and its learning-rate schedule."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dnar2mae.config import OptimizerConfig
from dnar2mae.distributed import full_tensor, local_shard

_MEMORY = 0.98  # share of the running mean of gradient norms that a step keeps


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """Return fused AdamW; matrices are decayed, norms and biases are not."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), fused=True)


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


def scale_and_clip(parameters: Sequence[Tensor], factor: Tensor, clip: float) -> Tensor:
    """Multiply all gradients by a factor, then clip their norm; no host synchronisation.

    Parameters
    ----------
    parameters
        Parameters with gradients.
    factor
        What turns the accumulated gradient into the gradient of the mean loss, a scalar tensor.
    clip
        Largest norm after scaling; 0 for no clipping.

    Returns
    -------
    Tensor
        Norm of the scaled gradient before clipping.
    """
    grads = [p.grad for p in parameters if p.grad is not None]
    norm = full_tensor(torch.nn.utils.get_total_norm(grads)) * factor
    if clip:
        factor = factor * (clip / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_([local_shard(grad) for grad in grads], factor)
    return norm


class StepGuard:
    """Leaves out steps whose gradient is not finite or spikes; no host synchronisation.

    Parameters
    ----------
    optimizer
        Fused, so that it can be told on the device to leave a step out.
    spike
        Leave out a step whose gradient norm is this many times the running mean; None leaves out none.
    device
        Of the model.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, spike: float | None, device: torch.device) -> None:
        self.optimizer, self.spike = optimizer, spike
        self.mean_norm, self.in_a_row = torch.zeros(2, device=device)

    def step(self, norm: Tensor) -> Tensor:
        """Step, unless the norm is not finite or spikes; return how many steps in a row were left out."""
        bad = ~norm.isfinite()
        if self.spike is not None:
            bad |= (self.mean_norm > 0) & (norm > self.spike * self.mean_norm)
        seen = torch.where(self.mean_norm > 0, _MEMORY * self.mean_norm + (1 - _MEMORY) * norm, norm)
        self.mean_norm = torch.where(bad, self.mean_norm, seen)
        self.in_a_row = torch.where(bad, self.in_a_row + 1, 0.0)
        # Fused AdamW reads these attributes on the device (they are meant for gradient scalers): an ``if`` on the
        # host would have to wait for the norm.
        self.optimizer.found_inf, self.optimizer.grad_scale = bad.float(), None  # type: ignore[attr-defined]
        self.optimizer.step()
        return self.in_a_row

    def state(self) -> list[float]:
        """Return what a resumed run must know, as JSON values."""
        return [self.mean_norm.item(), self.in_a_row.item()]

    def restore(self, state: Sequence[float]) -> None:
        """Set what :meth:`state` returned."""
        self.mean_norm, self.in_a_row = self.mean_norm.new_tensor(list(state))
