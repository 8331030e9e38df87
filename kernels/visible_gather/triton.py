"""Triton kernels for the visible gather; see reference.py for the definition.

The first launch draws the masks and numbers the visible tokens of each sample; the second writes every token's row
at its place. A token that is not visible has a place too, behind all visible ones: in a padded buffer its row is set
to zero, in an exact one it falls off the end. So each row of the output is written once, and nothing is cleared first.
"""

from collections.abc import Sequence
from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import triton_op, wrap_triton

from dnar2mae.kernels.mask_draw import VARYING, draw_arguments, draw_mask, mask_limit
from dnar2mae.kernels.row_sum.triton import row_sum
from dnar2mae.kernels.tiling import tile


@triton.jit(do_not_specialize=VARYING)
@no_type_check
def _visible_rank_kernel(
    valid,
    maskable,
    sample_ids,
    rank,
    predicted,
    lengths,
    length,
    seed,
    low,
    span,
    table,
    NUM_INTERVALS: tl.constexpr,
    ANCHOR_STRIDE: tl.constexpr,
    BLOCK_T: tl.constexpr,
):
    """rank[b, t] = visible tokens of sample b before t, as ~rank where t is not visible; lengths[b] = all of them."""
    row = tl.program_id(0).to(tl.int64)
    sample = tl.load(sample_ids + row).to(tl.int64)
    limit = mask_limit(sample, seed, low, span, table, NUM_INTERVALS)
    seen = tl.zeros((), tl.int32)
    for start in range(0, length, BLOCK_T):
        position = start + tl.arange(0, BLOCK_T)
        inside = position < length
        strength, asked, _ = draw_mask(
            sample, position, maskable + row * length, length, seed, limit, 0, 0, ANCHOR_STRIDE
        )
        exists = tl.load(valid + row * length + position, mask=inside, other=0) != 0
        visible = exists & (strength == 0)
        one = visible.to(tl.int32)
        before = seen + tl.cumsum(one, 0) - one
        tl.store(rank + row * length + position, tl.where(visible, before, ~before), mask=inside)
        tl.store(predicted + row * length + position, asked, mask=inside)
        seen += tl.sum(one, 0)
    tl.store(lengths + row, seen)


@triton.jit
@no_type_check
def _visible_rows_kernel(
    weight,
    tokens,
    rank,
    cu_seqlens,
    embedded,
    index,
    ids,
    vocabulary,
    batch,
    length,
    width,
    num_rows,
    BLOCK_T: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Write row cu_seqlens[b] + rank[b, t] of embedded, index and ids (-1 past the visible tokens)."""
    blocks = tl.cdiv(length, BLOCK_T)
    row = (tl.program_id(0) // blocks).to(tl.int64)
    position = tl.program_id(0) % blocks * BLOCK_T + tl.arange(0, BLOCK_T)
    flat = row * length + position
    inside = position < length
    signed = tl.load(rank + flat, mask=inside, other=0)
    token = tl.load(tokens + flat, mask=inside, other=0).to(tl.int64)
    visible = signed >= 0
    before = tl.load(cu_seqlens + row) + tl.where(visible, signed, ~signed)  # visible tokens before (b, t)
    target = tl.where(visible, before, tl.load(cu_seqlens + batch) + flat - before)
    inside &= target < num_rows
    tl.store(index + target, tl.where(visible, flat, 0), mask=inside)
    tl.store(ids + target, tl.where(visible, token, -1), mask=inside)
    known = inside & visible & (token >= 0) & (token < vocabulary)
    for start in range(0, width, BLOCK_D):
        column = start + tl.arange(0, BLOCK_D)
        here = column < width
        value = tl.load(weight + token[:, None] * width + column, mask=known[:, None] & here, other=float("nan"))
        value = tl.where(visible[:, None], value, 0.0).to(value.dtype)
        tl.store(embedded + target[:, None] * width + column, value, mask=inside[:, None] & here)


@triton_op("dnar2mae::visible_rank", mutates_args={})
@no_type_check
def visible_rank(
    valid: Tensor, maskable: Tensor, sample_ids: Tensor, plan: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Number the visible tokens.

    Returns
    -------
    rank
        ``int32 [B, T]``: visible tokens of the sample before this one, as ``~rank`` where it is not visible.
    predicted
        ``bool [B, T]``: where a prediction is asked for.
    lengths
        ``int32 [B]``: visible tokens of each sample.
    """
    batch, length = valid.shape
    rank = torch.empty(batch, length, dtype=torch.int32, device=valid.device)
    predicted = torch.empty(batch, length, dtype=torch.bool, device=valid.device)
    lengths = torch.empty(batch, dtype=torch.int32, device=valid.device)
    if batch:
        wrap_triton(_visible_rank_kernel)[(batch,)](
            valid.contiguous(),
            maskable.contiguous(),
            sample_ids.contiguous(),
            rank,
            predicted,
            lengths,
            length,
            BLOCK_T=512,
            **draw_arguments(plan, valid.device),
        )
    return rank, predicted, lengths


@visible_rank.register_fake
@no_type_check
def _(valid, maskable, sample_ids, plan):
    rank = valid.new_empty(valid.shape, dtype=torch.int32)
    return rank, torch.empty_like(valid), rank.new_empty(valid.shape[0])


@triton_op("dnar2mae::visible_rows", mutates_args={})
@no_type_check
def visible_rows(
    weight: Tensor, tokens: Tensor, rank: Tensor, cu_seqlens: Tensor, num_rows: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Write the rows of the visible tokens, their places and (``int32``, for the backward pass) their ids."""
    batch, length = tokens.shape
    vocabulary, width = weight.shape
    embedded = torch.empty(num_rows, width, dtype=dtype, device=weight.device)
    index = torch.empty(num_rows, dtype=torch.int64, device=weight.device)
    ids = torch.empty(num_rows, dtype=torch.int32, device=weight.device)
    block_t, block_d = tile(width, embedded.element_size())
    if tokens.numel():
        wrap_triton(_visible_rows_kernel)[(batch * triton.cdiv(length, block_t),)](
            weight.contiguous(),
            tokens.contiguous(),
            rank,
            cu_seqlens,
            embedded,
            index,
            ids,
            vocabulary,
            batch,
            length,
            width,
            num_rows,
            BLOCK_T=block_t,
            BLOCK_D=block_d,
        )
    return embedded, index, ids


@visible_rows.register_fake
@no_type_check
def _(weight, tokens, rank, cu_seqlens, num_rows, dtype):
    index = tokens.new_empty(num_rows, dtype=torch.int64)
    return weight.new_empty(num_rows, weight.shape[1], dtype=dtype), index, rank.new_empty(num_rows)


@no_type_check
def _setup(ctx, inputs, output):
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(output[2])
    ctx.vocabulary, ctx.dtype = inputs[0].shape[0], inputs[0].dtype


@no_type_check
def _backward(ctx, grad, *_):
    (ids,) = ctx.saved_tensors
    return row_sum(ids, grad, ctx.vocabulary, ctx.dtype), None, None, None, None, None


visible_rows.register_autograd(_backward, setup_context=_setup)
