"""Random masking fused with the lookup of the visible tokens only; Triton on CUDA, the definition elsewhere."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dnar2mae.kernels.backend import Backend, use_triton
from dnar2mae.kernels.visible_gather import reference
from dnar2mae.kernels.visible_gather.reference import VisibleTokens
from dnar2mae.masking import MaskPlan

__all__ = ["VisibleTokens", "visible_gather"]


def visible_gather(
    weight: Float[Tensor, "V D"],
    tokens: Int[Tensor, "B T"],
    valid: Bool[Tensor, "B T"],
    maskable: Bool[Tensor, "B T"],
    sample_ids: Int[Tensor, " B"],
    plan: MaskPlan,
    *,
    lengths: Sequence[int] | None = None,
    dtype: torch.dtype | None = None,
    padded: bool = False,
    backend: Backend = "auto",
) -> VisibleTokens:
    """Look up and pack the tokens that a mask plan leaves visible; see :func:`.reference.visible_gather`.

    ``lengths`` are the visible tokens of each sample, where the host has counted them (``num_visible`` of
    :class:`dnar2mae.batch.DrawnMasks`); they must be right.

    Raises
    ------
    ConfigError
        If the backend is unknown or cannot run here.

    Notes
    -----
    The Triton version takes two launches (number the visible tokens, then write them) with a cumulative sum over the
    B samples between them. The host waits for the sizes unless it has ``lengths`` or the buffer is ``padded``. A
    token id outside [0, V) gives a row of NaN, where the definition raises.
    """
    if not use_triton(backend, weight, plan):
        samples = tokens, valid, maskable, sample_ids
        return reference.visible_gather(weight, *samples, plan, dtype=dtype, padded=padded)
    from dnar2mae.kernels.mask_draw import pack
    from dnar2mae.kernels.visible_gather import triton as impl

    num_rows, longest = tokens.numel(), tokens.shape[1]
    rank, predicted, counts = impl.visible_rank(valid, maskable, sample_ids, pack(plan))
    if not padded:
        lengths = counts.tolist() if lengths is None else lengths
        num_rows, longest = sum(lengths), max(lengths, default=0)
    cu_seqlens = F.pad(counts.cumsum(0), (1, 0)).int()
    embedded, index, _ = impl.visible_rows(weight, tokens, rank, cu_seqlens, num_rows, dtype or weight.dtype)
    return VisibleTokens(embedded, cu_seqlens, index, longest, predicted)
