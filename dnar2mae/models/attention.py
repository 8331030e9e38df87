"""Scaled dot-product attention over whole or local windows, behind one function."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def attention(
    query: Float[Tensor, "B H T K"],
    key: Float[Tensor, "B H T K"],
    value: Float[Tensor, "B H T K"],
    visible: Bool[Tensor, "..."] | None = None,
) -> Float[Tensor, "B H T K"]:
    """Softmax attention with scale ``K ** -0.5``, in both directions.

    Parameters
    ----------
    query, key, value
        Projected and rotated.
    visible
        Which keys each query sees, broadcastable to [B, H, T, T]; by default all.

    Returns
    -------
    Tensor
        Mixed values.
    """
    return F.scaled_dot_product_attention(query, key, value, attn_mask=visible)


def local_visibility(length: int, local_tokens: int, device: torch.device) -> Bool[Tensor, "T T"]:
    """Keys within ``local_tokens // 2`` of each query, itself included (ModernBERT's sliding window)."""
    position = torch.arange(length, device=device)
    return (position[:, None] - position[None, :]).abs() <= local_tokens // 2
