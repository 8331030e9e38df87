"""Mask a batch and look up its embeddings: the definition that the Triton kernel must match."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dnar2mae.masking import MaskPlan, corrupt


def masked_embedding(
    weight: Float[Tensor, "V D"],
    tokens: Int[Tensor, "B T"],
    maskable: Bool[Tensor, "B T"],
    sample_ids: Int[Tensor, " B"],
    plan: MaskPlan,
    *,
    dtype: torch.dtype | None = None,
) -> tuple[Float[Tensor, "B T D"], Bool[Tensor, "B T"]]:
    r"""Look up what the encoder sees of each token under a mask plan.

    .. math:: y_{b,t} = W_{c_{b,t}}, \qquad (c, p) = \mathrm{corrupt}(\mathrm{plan}, \mathrm{tokens}, \ldots)

    Parameters
    ----------
    weight
        Embedding rows. A norm of the embedding is applied to these V rows before, not to the B*T vectors after.
    tokens
        Token ids in [0, V), of any integer dtype.
    maskable
        Which tokens may be masked (no padding, no [UNK]).
    sample_ids
        Index of each sample in the run, >= 0.
    plan
        The step's mask plan.
    dtype
        Type of the result, by default that of ``weight``: fp32 weights under bf16 autocast are rounded as they are
        written. The gradient of ``weight`` is summed in fp32, whatever the type of the vectors.

    Returns
    -------
    embedded
        Rows of ``weight``.
    predicted
        Which tokens are predicted.
    """
    inputs, predicted = corrupt(plan, tokens, maskable, sample_ids.long())
    return F.embedding(inputs.long(), weight).to(dtype or weight.dtype), predicted
