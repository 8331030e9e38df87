"""Muon: momentum whose matrices are made orthogonal, for the layers; AdamW for all else.

References
----------
.. [1] Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024,
   https://kellerjordan.github.io/posts/muon/
.. [2] Liu et al., "Muon is scalable for LLM training", arXiv 2502.16982 (the scale of the update).
"""

from collections import defaultdict
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dnar2mae.distributed import full_tensor, local_shard, shard_like

_MOMENTUM = 0.95
_STEPS = 5
# a polynomial whose iteration takes singular values from (0, 1] to about 1 fastest; they end between 0.7 and 1.2 [1]_
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
# the root mean square of an update of AdamW, so that one learning rate suits matrices of any shape [2]_
_RMS = 0.2


class MuonAndAdamW(torch.optim.AdamW):
    """Muon for one group of parameters and fused AdamW for the others.

    A parameter of more than two axes is a convolution's: each tap is a matrix of its own. Matrices of one shape are
    made orthogonal together. Momentum is kept under ``momentum_buffer`` in the parameter's state. Like fused AdamW it
    reads ``found_inf`` on the device: where that is 1, weights and momentum stay as they are.

    Parameters
    ----------
    muon
        The group of Muon: ``params``, ``weight_decay`` and ``lr_factor``, its learning rate over that of AdamW.
    groups, settings
        As for AdamW.
    dtype
        Type of the matrix products of the orthogonalisation.
    """

    def __init__(
        self, muon: dict[str, Any], groups: list[dict[str, Any]], *, dtype: torch.dtype, **settings: Any
    ) -> None:
        super().__init__([*groups, muon], **settings)
        self.muon, self.dtype = self.param_groups[-1], dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        skip = getattr(self, "found_inf", None)
        is_skipped = False
        if skip is not None and skip.device.type == "cpu":  # the host need not wait to know
            skip, is_skipped = None, bool(skip)
        by_shape: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
        for parameter in self.muon["params"]:
            if parameter.grad is not None and not is_skipped:
                by_shape[parameter.shape[:2]].append(parameter)
        for parameters in by_shape.values():
            self._update(parameters, None if skip is None else skip.bool())
        for parameter in self.muon["params"]:
            parameter.grad = None  # AdamW leaves parameters without a gradient alone
        super().step()

    def _update(self, parameters: list[Tensor], skip: Tensor | None) -> None:
        """Update parameters whose matrices have one shape."""
        matrices = [_matrices(full_tensor(self._direction(parameter, skip))) for parameter in parameters]
        orthogonal = orthogonalised(torch.cat(matrices).to(self.dtype)).split([len(part) for part in matrices])
        rate, decay = self.muon["lr"], self.muon["weight_decay"]
        for parameter, part in zip(parameters, orthogonal, strict=True):
            whole = part.new_empty(parameter.shape, dtype=torch.float32)  # in the order of the weights
            whole.copy_(part.permute(1, 2, 0).reshape(parameter.shape))
            update, target = local_shard(shard_like(parameter, whole)), local_shard(parameter)
            update.mul_(_RMS * max(part.shape[1:]) ** 0.5).add_(target * decay).mul_(rate)
            target.sub_(update if skip is None else torch.where(skip, 0.0, update))

    def _direction(self, parameter: Tensor, skip: Tensor | None) -> Tensor:
        """Return the gradient, moved along the momentum, which is updated."""
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        momentum, grad = local_shard(state["momentum_buffer"]), local_shard(parameter.grad)
        if skip is None:
            momentum.lerp_(grad, 1 - _MOMENTUM)
        else:
            momentum.copy_(torch.where(skip, momentum, momentum.lerp(grad, 1 - _MOMENTUM)))
        grad.lerp_(momentum, _MOMENTUM)  # Nesterov's
        assert parameter.grad is not None
        return parameter.grad


def _matrices(tensor: Float[Tensor, "O I *K"]) -> Float[Tensor, "N O I"]:
    """Return the matrix of each tap of a convolution, or the one matrix of a linear layer."""
    return tensor.flatten(2).permute(2, 0, 1) if tensor.ndim > 2 else tensor[None]


def orthogonalised(matrices: Float[Tensor, "N O I"]) -> Float[Tensor, "N O I"]:
    """Return matrices with about the same singular vectors and singular values of about 1.

    Five Newton-Schulz iterations; a matrix of zeros stays one.
    """
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    is_tall = x.shape[1] > x.shape[2]
    if is_tall:  # the smaller Gram matrix
        x = x.mT
    a, b, c = _COEFFICIENTS
    for _ in range(_STEPS):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.mT if is_tall else x
