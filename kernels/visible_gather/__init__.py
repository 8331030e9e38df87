"""Random masking fused with the lookup of the visible tokens only; Triton on CUDA, the definition elsewhere."""

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
    padded: bool = False,
    backend: Backend = "auto",
) -> VisibleTokens:
    """Look up and pack the tokens that a mask plan leaves visible; see :func:`.reference.visible_gather`.

    Raises
    ------
    ConfigError
        If the backend is unknown or cannot run here.

    Notes
    -----
    The Triton version takes two launches (number the visible tokens, then write them) with a cumulative sum over the
    B samples between them, and one wait of the host for the sizes unless ``padded``. A token id outside [0, V)
    gives a row of NaN, where the definition raises.
    """
    if not use_triton(backend, weight, plan):
        return reference.visible_gather(weight, tokens, valid, maskable, sample_ids, plan, padded=padded)
    from dnar2mae.kernels.mask_draw import pack
    from dnar2mae.kernels.visible_gather import triton as impl

    return impl.visible_gather(weight, tokens, valid, maskable, sample_ids, pack(plan), padded)
