"""The prediction head: from vectors at masked positions to losses, never holding all logits of a large vocabulary."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

_CHUNK_LOGITS = 1 << 25  # logits held at once: 128 MB in fp32


def token_losses(
    hidden: Float[Tensor, "M D"], weight: Float[Tensor, "V D"], bias: Float[Tensor, " V"], labels: Int[Tensor, " M"]
) -> Float[Tensor, " M"]:
    r"""Cross-entropy of each token under ``softmax(hidden weight' + bias)``, in nats.

    .. math:: \ell_m = \log \sum_v \exp(w_v \cdot h_m + b_v) - w_{y_m} \cdot h_m - b_{y_m}

    Parameters
    ----------
    hidden
        Vectors at the predicted positions.
    weight, bias
        Decoder, tied to the embedding.
    labels
        True token ids.

    Returns
    -------
    Tensor
        fp32 losses. For more than 2**25 logits they are computed chunk by chunk, and once more in the backward pass.
    """
    if len(hidden) * len(weight) <= _CHUNK_LOGITS:
        return F.cross_entropy(F.linear(hidden, weight).float() + bias, labels, reduction="none")
    if torch.is_autocast_enabled(hidden.device.type):
        hidden, weight = (x.to(torch.get_autocast_dtype(hidden.device.type)) for x in (hidden, weight))
    return _ChunkedCrossEntropy.apply(hidden, weight, bias, labels)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Cross-entropy whose logits exist one chunk at a time."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
        """Losses of all rows."""
        ctx.save_for_backward(hidden, weight, bias, labels)
        losses = [
            F.cross_entropy(F.linear(hidden[rows], weight).float() + bias, labels[rows], reduction="none")
            for rows in _chunks(len(hidden), len(weight))
        ]
        return torch.cat(losses)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Logits once more; their gradient is (softmax - one-hot) times the loss's."""
        hidden, weight, bias, labels = ctx.saved_tensors
        d_hidden = torch.empty_like(hidden)
        d_weight = torch.zeros_like(weight, dtype=torch.float32)
        d_bias = torch.zeros_like(bias)
        for rows in _chunks(len(hidden), len(weight)):
            d_logits = (F.linear(hidden[rows], weight).float() + bias).softmax(-1)
            d_logits.scatter_add_(1, labels[rows, None], d_logits.new_full((len(d_logits), 1), -1.0))
            d_logits *= grads[0][rows, None]
            d_bias += d_logits.sum(0)
            d_logits = d_logits.to(hidden.dtype)
            d_hidden[rows] = d_logits @ weight
            d_weight += d_logits.T @ hidden[rows]
        return d_hidden, d_weight.to(weight.dtype), d_bias, None


def _chunks(num_rows: int, num_columns: int) -> list[slice]:
    size = max(_CHUNK_LOGITS // num_columns, 1)
    return [slice(start, start + size) for start in range(0, num_rows, size)]
