"""Embeddings of the visible tokens only, packed: the definition the Triton kernels must match."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Int32, Int64
from torch import Tensor

from dnar2mae.masking import MaskPlan
from dnar2mae.masking.draw import hidden_tokens


class VisibleTokens(NamedTuple):
    """What the encoder of the ``mae`` objective is given: N visible tokens of B samples, one after the other."""

    embedded: Float[Tensor, "N D"]
    """Rows of the weight."""
    cu_seqlens: Int32[Tensor, " B+1"]
    """Row at which each sample starts; the last is the number of visible tokens."""
    flat_index: Int64[Tensor, " N"]
    """Place of each row's token in the flattened batch."""
    max_seqlen: int
    """Visible tokens of the longest sample, or an upper bound (T) where the buffer is padded."""
    predicted: Bool[Tensor, "B T"]
    """Where a prediction is asked for."""


def visible_gather(
    weight: Float[Tensor, "V D"],
    tokens: Int[Tensor, "B T"],
    valid: Bool[Tensor, "B T"],
    maskable: Bool[Tensor, "B T"],
    sample_ids: Int[Tensor, " B"],
    plan: MaskPlan,
    *,
    dtype: torch.dtype | None = None,
    padded: bool = False,
) -> VisibleTokens:
    r"""Look up the valid tokens that a mask plan leaves visible and pack them.

    .. math:: y_{\mathrm{row}(b,t)} = W_{\mathrm{tokens}_{b,t}} \quad \text{for } (b, t) \text{ valid and not hidden}

    Rows are in the order of ``(b, t)``. A visible token is shown as it is: there is no [MASK] and no random token.

    Parameters
    ----------
    weight
        Embedding rows.
    tokens
        Token ids in [0, V), of any integer dtype.
    valid
        Which tokens exist: padding is dropped, [UNK] is visible.
    maskable
        Which tokens may be masked (no padding, no [UNK]).
    sample_ids
        Index of each sample in the run, >= 0.
    plan
        The step's mask plan.
    dtype
        Type of the rows, by default that of ``weight``, whose gradient is summed in fp32 whatever this is.
    padded
        Give B*T rows, zero from ``cu_seqlens[-1]`` on, so that no size depends on the data: nothing waits for the
        device, and ``torch.compile`` sees static shapes. Otherwise the host reads the sizes once.

    Returns
    -------
    VisibleTokens
        The packed rows and where each came from.
    """
    hidden, predicted = hidden_tokens(plan, tokens, maskable, sample_ids)
    visible = valid & ~hidden
    lengths = visible.sum(1)
    cu_seqlens = F.pad(lengths.cumsum(0), (1, 0)).int()
    source = torch.argsort(~visible.flatten(), stable=True)  # visible tokens first, each group in order
    if not padded:
        source = source[: int(cu_seqlens[-1])]
    filled = visible.flatten()[source]
    embedded = F.embedding(tokens.flatten()[source].long(), weight).to(dtype or weight.dtype) * filled[:, None]
    index = torch.where(filled, source, 0)
    longest = tokens.shape[1] if padded else int(lengths.max())
    return VisibleTokens(embedded, cu_seqlens, index, longest, predicted)
