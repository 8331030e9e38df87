"""The mask draw inside a Triton kernel: bit-equal twin of :mod:`dnar2mae.masking.draw`.

Words are compared as unsigned numbers in ``int64``, so that a bound of 2**32 ("always") is no special case.
"""

from collections.abc import Sequence
from typing import Any, no_type_check

import torch
import triton
import triton.language as tl

from dnar2mae.masking import MaskPlan
from dnar2mae.random import Stream

RATIO, MASK, SPAN = (tl.constexpr(int(stream)) for stream in (Stream.RATIO, Stream.MASK, Stream.SPAN))
VARYING = ["seed", "low", "span", "mask_below", "random_below", "mask_id", "first_real", "num_real"]
"""Kernel arguments for which Triton must not compile another variant when they happen to be 1 or divisible by 16."""


def pack(plan: MaskPlan) -> list[int]:
    """Return a plan as the flat list of integers that an operator's schema can carry."""
    replacement = [plan.mask_below, plan.random_below, plan.mask_id, *plan.real_ids]
    intervals = [bound for interval in plan.intervals for bound in interval]
    return [plan.seed, plan.anchor_stride, *replacement, *intervals]


@no_type_check  # under torch.compile the integers are symbolic
def draw_arguments(plan: Sequence[int], device: torch.device) -> dict[str, Any]:
    """Return the kernel arguments of a packed plan that decide which tokens are masked.

    A single ratio interval is passed as two numbers. Several (the ``choice`` law) become a table on the device,
    filled there so that the host never waits.
    """
    seed, anchor_stride = plan[:2]
    intervals = plan[7:]
    table = None
    if len(intervals) > 2:
        table = torch.stack([torch.full((), bound, dtype=torch.int64, device=device) for bound in intervals])
    return {
        "seed": seed,
        "low": intervals[0],
        "span": intervals[1],
        "table": table,
        "NUM_INTERVALS": len(intervals) // 2,
        "ANCHOR_STRIDE": int(anchor_stride),
    }


@no_type_check
def replacement_arguments(plan: Sequence[int]) -> dict[str, Any]:
    """Return the kernel arguments of a packed plan that decide what a masked token becomes."""
    return dict(zip(("mask_below", "random_below", "mask_id", "first_real", "num_real"), plan[2:7], strict=True))


@triton.jit
@no_type_check
def _words(seed, sample, position, STREAM: tl.constexpr):
    """Return the four random words of a position, as :func:`dnar2mae.random.draw` does."""
    return tl.philox(seed, position, sample.to(tl.uint32), (sample >> 32).to(tl.uint32), STREAM)


@triton.jit
@no_type_check
def scale(word, bound):
    """Map a word to [0, bound) as ``word * bound >> 32``, for a bound of at most 2**32."""
    return ((word.to(tl.uint64) * tl.cast(bound, tl.uint64)) >> 32).to(tl.int64)


@triton.jit
@no_type_check
def mask_limit(sample, seed, low, span, table, NUM_INTERVALS: tl.constexpr):
    """Return the mask ratio of a sample in units of 2**-32, as :func:`dnar2mae.masking.draw.draw_threshold` does."""
    within, which, _, _ = _words(seed, sample, 0, RATIO)
    if NUM_INTERVALS > 1:
        interval = table + 2 * scale(which, NUM_INTERVALS)
        limit = tl.load(interval) + scale(within, tl.load(interval + 1))
    else:
        limit = low + scale(within, span)
    return limit


@triton.jit
@no_type_check
def _strength(seed, sample, position, maskable, limit, mask_below, random_below):
    """Return 0 not masked, 1 masked but kept, 2 a random token, 3 [MASK]; and the word that picks the random token."""
    choose, kind, pick, _ = _words(seed, sample, position, MASK)
    kind = kind.to(tl.int64)
    strength = tl.where(kind < mask_below, 3, tl.where(kind < random_below, 2, 1))
    return tl.where((choose.to(tl.int64) < limit) & maskable, strength, 0), pick


@triton.jit
@no_type_check
def draw_mask(
    sample, position, maskable_row, length, seed, limit, mask_below, random_below, ANCHOR_STRIDE: tl.constexpr
):
    """Return the choices for a block of positions of one sample: strength, whether it is predicted, random word.

    With overlapping tokens (``ANCHOR_STRIDE`` above 1) the choices of the anchors on either side are drawn again
    here, and the stronger one wins.
    """
    maskable = tl.load(maskable_row + position, mask=position < length, other=0) != 0
    strength, pick = _strength(seed, sample, position, maskable, limit, mask_below, random_below)
    if ANCHOR_STRIDE == 1:
        predicted = strength > 0
    else:
        phase = scale(_words(seed, sample, 0, SPAN)[0], ANCHOR_STRIDE).to(tl.int32)
        behind = (position + ANCHOR_STRIDE - phase) % ANCHOR_STRIDE
        before, after = position - behind, position - behind + ANCHOR_STRIDE
        open_before = tl.load(maskable_row + before, mask=(before >= 0) & (before < length), other=0) != 0
        open_after = tl.load(maskable_row + after, mask=after < length, other=0) != 0
        left, _ = _strength(seed, sample, before, open_before, limit, mask_below, random_below)
        right, _ = _strength(seed, sample, after, open_after, limit, mask_below, random_below)
        predicted = (strength > 0) & (behind == 0)
        strongest = tl.maximum(left, tl.where(behind > 0, right, 0))
        strength = tl.where(maskable, strongest, 0)
    return strength, predicted, pick
