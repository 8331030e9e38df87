"""Triton kernel for the masked embedding; see reference.py for the definition.

Bytes: the kernel writes ``B * T * D`` elements and reads one id and one byte a token; the V rows stay in cache. So it
is bound by write bandwidth, and a block of tokens is drawn once and then written in slices of the width.
"""

from collections.abc import Sequence
from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import triton_op, wrap_triton

from dnar2mae.kernels.mask_draw import VARYING, draw_arguments, draw_mask, mask_limit, replacement_arguments, scale
from dnar2mae.kernels.row_sum.triton import row_sum
from dnar2mae.kernels.tiling import tile


@triton.jit(do_not_specialize=VARYING)
@no_type_check
def _masked_embedding_kernel(
    weight,
    tokens,
    maskable,
    sample_ids,
    out,
    predicted,
    vocabulary,
    length,
    width,
    seed,
    low,
    span,
    table,
    mask_below,
    random_below,
    mask_id,
    first_real,
    num_real,
    NUM_INTERVALS: tl.constexpr,
    ANCHOR_STRIDE: tl.constexpr,
    EMBED: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Compute out[b, t] = weight[corrupt(tokens)[b, t]] and predicted[b, t]; without EMBED the ids themselves."""
    blocks = tl.cdiv(length, BLOCK_T)
    row = (tl.program_id(0) // blocks).to(tl.int64)
    position = tl.program_id(0) % blocks * BLOCK_T + tl.arange(0, BLOCK_T)
    inside = position < length
    sample = tl.load(sample_ids + row).to(tl.int64)
    limit = mask_limit(sample, seed, low, span, table, NUM_INTERVALS)
    strength, asked, pick = draw_mask(
        sample, position, maskable + row * length, length, seed, limit, mask_below, random_below, ANCHOR_STRIDE
    )
    token = tl.load(tokens + row * length + position, mask=inside, other=0).to(tl.int64)
    token = tl.where(strength == 2, first_real + scale(pick, num_real), token)
    token = tl.where(strength == 3, mask_id, token)
    if EMBED:
        tl.store(predicted + row * length + position, asked, mask=inside)
        known = inside & (token >= 0) & (token < vocabulary)
        source = token * width
        target = (row * length + position) * width
        for start in range(0, width, BLOCK_D):
            column = start + tl.arange(0, BLOCK_D)
            here = column < width
            value = tl.load(weight + source[:, None] + column, mask=known[:, None] & here, other=float("nan"))
            tl.store(out + target[:, None] + column, value, mask=inside[:, None] & here)
    else:
        tl.store(out + row * length + position, token, mask=inside)


@triton_op("dnar2mae::masked_embedding", mutates_args={})
@no_type_check
def masked_embedding(
    weight: Tensor, tokens: Tensor, maskable: Tensor, sample_ids: Tensor, plan: Sequence[int], dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Triton twin of :func:`.reference.masked_embedding`; ``plan`` is packed by :func:`.mask_draw.pack`."""
    embedded = torch.empty(*tokens.shape, weight.shape[1], dtype=dtype, device=weight.device)
    predicted = torch.empty(tokens.shape, dtype=torch.bool, device=weight.device)
    _launch(weight.contiguous(), tokens, maskable, sample_ids, embedded, predicted, plan)
    return embedded, predicted


@masked_embedding.register_fake
@no_type_check
def _(weight, tokens, maskable, sample_ids, plan, dtype):
    return weight.new_empty(*tokens.shape, weight.shape[1], dtype=dtype), tokens.new_empty(
        tokens.shape, dtype=torch.bool
    )


@triton_op("dnar2mae::corrupted_ids", mutates_args={})
@no_type_check
def corrupted_ids(tokens: Tensor, maskable: Tensor, sample_ids: Tensor, plan: Sequence[int]) -> Tensor:
    """Draw the ids that the encoder saw again, as ``int32``: Triton twin of :func:`dnar2mae.masking.corrupt`."""
    ids = torch.empty(tokens.shape, dtype=torch.int32, device=tokens.device)
    _launch(None, tokens, maskable, sample_ids, ids, None, plan)
    return ids


@corrupted_ids.register_fake
@no_type_check
def _(tokens, maskable, sample_ids, plan):
    return tokens.new_empty(tokens.shape, dtype=torch.int32)


@no_type_check
def _launch(weight, tokens, maskable, sample_ids, out, predicted, plan):
    batch, length = tokens.shape
    if out.numel() == 0:
        return
    vocabulary, width = (0, 1) if weight is None else weight.shape
    block_t, block_d = tile(width, out.element_size())
    wrap_triton(_masked_embedding_kernel)[(batch * triton.cdiv(length, block_t),)](
        weight,
        tokens.contiguous(),
        maskable.contiguous(),
        sample_ids.contiguous(),
        out,
        predicted,
        vocabulary,
        length,
        width,
        EMBED=weight is not None,
        BLOCK_T=block_t,
        BLOCK_D=block_d,
        **draw_arguments(plan, tokens.device),
        **replacement_arguments(plan),
    )


@no_type_check
def _setup(ctx, inputs, output):
    weight, tokens, maskable, sample_ids, plan, _ = inputs
    ctx.save_for_backward(tokens, maskable, sample_ids)
    ctx.plan, ctx.vocabulary, ctx.dtype = plan, weight.shape[0], weight.dtype


@no_type_check
def _backward(ctx, grad, _):
    # the mask is drawn again, so that no ids are kept between the passes
    ids = corrupted_ids(*ctx.saved_tensors, ctx.plan)
    return row_sum(ids.flatten(), grad.flatten(0, 1), ctx.vocabulary, ctx.dtype), None, None, None, None, None


masked_embedding.register_autograd(_backward, setup_context=_setup)
