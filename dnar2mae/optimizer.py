"""AdamW and its learning-rate schedule."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dnar2mae.config import OptimizerConfig


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """Fused AdamW; matrices are decayed, norms and biases are not."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), fused=True)


def learning_rate(step: int, total_steps: int, config: OptimizerConfig) -> float:
    """Learning rate of a step (0-based): linear warm-up, then the schedule; a pure function of the step."""
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
    norm = torch.nn.utils.get_total_norm(grads) * factor
    if clip:
        factor = factor * (clip / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(grads, factor)
    return norm
