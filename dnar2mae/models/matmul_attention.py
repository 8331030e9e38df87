"""Attention in plain matrix products: sliding windows on every device, and short sequences in bf16 on a CPU.

With a window, time and memory are T x window: a block of queries meets its own keys and those within reach on both
sides. The backward pass is written out: key and value gradients of overlapping blocks are added slice by slice, which
autograd would do by scattering. Without a window there is one block; in bf16 that beats SDPA's CPU backward pass,
which does not use the processor's matrix units.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


def matmul_attention(
    query: Float[Tensor, "B T H K"],
    key: Float[Tensor, "B T H K"],
    value: Float[Tensor, "B T H K"],
    window: int | None,
    segments: Int[Tensor, " T"] | None = None,
) -> Float[Tensor, "B T H K"]:
    """Compute softmax attention with scale ``K ** -0.5``.

    Parameters
    ----------
    query, key, value
        Projected and rotated.
    window
        See the keys at most this many positions away, at least 1; None sees all, in memory T x T.
    segments
        With a window: number of the sequence that each position belongs to, where several are packed into a row;
        keys of other sequences are not seen.

    Returns
    -------
    Tensor
        Mixed values.
    """
    return _MatmulAttention.apply(query, key, value, window, segments)


class _MatmulAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, *settings: Any) -> Tensor:
        """Attend block by block; ``settings`` are window and segments."""
        window, segments = settings
        length, reach = query.shape[1], window or 0
        # of the keys that a block of queries meets, each sees 2 w + 1: w queries meet 3 w keys, 2 w meet 4 w; matrix
        # units want the larger blocks
        block = length if window is None else max(window * (2 if query.dtype.itemsize == 2 else 1), 16)
        gap = 0 if window is None else block
        queries = _strips(query, block, 0, gap)
        keys, values = (_strips(x, block, reach, gap) for x in (key, value))
        scores = queries.new_empty(*queries.shape[:2], keys.shape[1])
        if window is not None:
            visibility = _visibility(length, block, window, segments, scores)
            scores.unflatten(0, (-1, len(visibility))).copy_(visibility)
        scores.baddbmm_(queries, keys.mT, beta=int(window is not None), alpha=query.shape[-1] ** -0.5)
        # autocast on CUDA promotes softmax to fp32, and the products of the backward pass want one type
        weights = scores.softmax(-1).to(scores.dtype)
        _forget_gaps(weights, length, block, gap)
        ctx.save_for_backward(queries, keys, values, weights)
        ctx.shape, ctx.reach, ctx.gap = query.shape, reach, gap
        return _together(weights @ values, query.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Return the gradients of query, key and value."""
        queries, keys, values, weights = ctx.saved_tensors
        grad = _strips(grads[0], queries.shape[1], 0, ctx.gap)
        d_scores = torch._softmax_backward_data(grad @ values.mT, weights, -1, weights.dtype)
        d_scores *= queries.shape[-1] ** -0.5
        _forget_gaps(d_scores, ctx.shape[1], queries.shape[1], ctx.gap)
        return (
            _together(d_scores @ keys, ctx.shape),
            _together(_by_key(d_scores, queries, ctx.reach), ctx.shape),
            _together(_by_key(weights, grad, ctx.reach), ctx.shape),
            None,
            None,
        )


def _strips(x: Float[Tensor, "B T H K"], block: int, reach: int, gap: int) -> Float[Tensor, "N S K"]:
    """Cut into strips of ``block`` positions of one head, each with ``reach`` more on both sides.

    All strips lie one behind the other in memory and overlap there. Behind each sequence are at least ``gap``, a
    multiple of ``block``, rows of zeros: so no strip of one sequence has anything of another, which might be NaN.
    """
    batch, length, heads, width = x.shape
    filled = length + -length % block + gap
    line = x.new_empty(heads * batch * filled + 2 * reach, width)
    before, own, behind = line.split([reach, len(line) - 2 * reach, reach])
    own = own.view(heads, batch, filled, width)
    own[:, :, :length] = x.permute(2, 0, 1, 3)
    for unread in (before, own[:, :, length:], behind):  # its weight is 0, and 0 times NaN would be NaN
        unread.zero_()
    return line.unfold(0, block + 2 * reach, block).mT


def _forget_gaps(x: Float[Tensor, "N Q S"], length: int, block: int, gap: int) -> None:
    """Set the strips of gaps, which reach into the sequences on both sides, to zero in place."""
    if gap:
        blocks = -(-length // block)
        x.unflatten(0, (-1, blocks + gap // block))[:, blocks:] = 0


def _by_key(x: Float[Tensor, "N Q S"], y: Float[Tensor, "N Q K"], reach: int) -> Float[Tensor, "N Q K"]:
    """Return the sums of ``x`` times ``y`` for each key, over the queries of its own block and of both beside it."""
    block = y.shape[1]
    if reach == block:  # sums in place, in a third of the memory
        before, own, behind = x.mT.split(block, dim=1)
        result = own @ y
        result[:-1].baddbmm_(before[1:], y[1:])
        result[1:].baddbmm_(behind[:-1], y[:-1])
        return result
    strips = x.mT @ y  # narrow products would cost 16-bit units more than the memory
    if not reach:
        return strips
    result = strips[:, reach : reach + block].clone()
    result[:-1, block - reach :] += strips[1:, :reach]
    result[1:, :reach] += strips[:-1, reach + block :]
    return result


def _together(x: Float[Tensor, "N Q K"], shape: tuple[int, ...]) -> Float[Tensor, "B T H K"]:
    """Join blocks into sequences."""
    batch, length, heads, width = shape
    return x.view(heads, batch, -1, width)[:, :, :length].permute(1, 2, 0, 3)


def _visibility(length: int, block: int, window: int, segments: Tensor | None, like: Tensor) -> Float[Tensor, "N Q S"]:
    """Return 0 where a query sees a key, -inf elsewhere; the last block is the gap's."""
    row = torch.arange(block, device=like.device)[:, None]
    column = torch.arange(-window, block + window, device=like.device)
    start = torch.arange(0, length + block, block, device=like.device)[:, None, None]
    position = start + column
    visible = ((row - column).abs() <= window) & (position >= 0) & (position < length)
    if segments is not None:
        here, there = (segments[x.clamp(0, length - 1)] for x in (start + row, position))
        visible = visible & (here == there)
    # rows past the end see no key, of which a softmax is NaN: let them see all, they are cut off later
    visible = visible | ~visible.any(-1, keepdim=True)
    return torch.zeros_like(visible, dtype=like.dtype).masked_fill(~visible, -torch.inf)
