"""Random masking fused with the embedding lookup; Triton on CUDA, the PyTorch definition elsewhere."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dnar2mae.kernels.backend import Backend, use_triton
from dnar2mae.kernels.masked_embedding import reference
from dnar2mae.masking import MaskPlan


def masked_embedding(
    weight: Float[Tensor, "V D"],
    tokens: Int[Tensor, "B T"],
    maskable: Bool[Tensor, "B T"],
    sample_ids: Int[Tensor, " B"],
    plan: MaskPlan,
    *,
    dtype: torch.dtype | None = None,
    backend: Backend = "auto",
) -> tuple[Float[Tensor, "B T D"], Bool[Tensor, "B T"]]:
    """Look up what the encoder sees of each token under a mask plan; see :func:`.reference.masked_embedding`.

    Raises
    ------
    ConfigError
        If the backend is unknown or cannot run here.

    Notes
    -----
    The Triton version draws, masks and looks up in one launch and keeps only its inputs for the backward pass,
    which draws again. Its weight gradient is summed in a fixed order, so it is the same on every run. A token id
    outside [0, V) yields a row of NaN, where the definition raises.
    """
    if not use_triton(backend, weight, plan):
        return reference.masked_embedding(weight, tokens, maskable, sample_ids, plan, dtype=dtype)
    from dnar2mae.kernels.mask_draw import pack
    from dnar2mae.kernels.masked_embedding import triton as impl

    return impl.masked_embedding(weight, tokens, maskable, sample_ids, pack(plan), dtype or weight.dtype)
