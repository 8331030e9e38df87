"""Triton kernels for the sum of rows by id; see reference.py for the definition.

Both methods reduce in registers and in a fixed order, with no atomics, so that skewed ids (a third of the tokens may be
[MASK]) neither serialise nor change the result from run to run:

- few ids: each program adds a chunk of rows to all V sums at once, as a matrix product with the one-hot ids; the
  chunks' partial sums are then added up;
- many ids: the rows are visited in the (stable) order of their ids, cut into runs of one id and at most ``RUN_ROWS``
  rows; one program sums a run, and the same kernel then sums the runs of each id.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import triton_op, wrap_triton

from dnar2mae.kernels.backend import INTERPRETED

ONE_HOT_ROWS = 64
"""Largest V for the one-hot product: up to there its arithmetic hides behind reading the rows."""
RUN_ROWS = 256
"""Rows of one program, so that a frequent id is shared among many."""
NUM_CHUNKS = 256
"""Most chunks of the one-hot product: enough to fill a GPU, few enough that their partial sums are cheap."""


@triton.jit
@no_type_check
def _one_hot_kernel(
    ids,
    values,
    partial,
    num_values,
    width,
    num_rows,
    chunk_rows,
    WIDEN: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Compute partial[c, v], the sum of [ids[n] = v] values[n] over the rows n of chunk c."""
    chunk = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    row = tl.arange(0, ROWS)
    dtype = tl.float32 if WIDEN else values.dtype.element_ty
    total = tl.zeros((ROWS, BLOCK_D), tl.float32)
    for start in range(0, chunk_rows, BLOCK_N):
        n = chunk * chunk_rows + start + tl.arange(0, BLOCK_N)
        inside = (start + tl.arange(0, BLOCK_N) < chunk_rows) & (n < num_values)
        these = tl.load(ids + n, mask=inside, other=-1)
        value = tl.load(values + n[:, None] * width + column, mask=inside[:, None] & (column < width), other=0.0)
        one_hot = (row[:, None] == these[None, :]).to(dtype)
        total = tl.dot(one_hot, value.to(dtype), total, input_precision="tf32x3")
    sums = partial + (chunk * num_rows + row[:, None]) * width + column
    tl.store(sums, total, mask=(row[:, None] < num_rows) & (column < width))


@triton.jit
@no_type_check
def _run_sum_kernel(values, order, starts, sums, width, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr):
    """Compute sums[i], the sum of values[order[n]] over n in [starts[i], starts[i + 1]); no order means n itself."""
    run = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    first, last = tl.load(starts + run), tl.load(starts + run + 1)
    accumulator = sums.dtype.element_ty
    total = tl.zeros((BLOCK_N, BLOCK_D), accumulator)
    for start in range(first, last, BLOCK_N):
        n = start + tl.arange(0, BLOCK_N).to(tl.int64)
        row = n if order is None else tl.load(order + n, mask=n < last, other=0)
        value = tl.load(values + row[:, None] * width + column, mask=(n < last)[:, None] & (column < width), other=0.0)
        total += value.to(accumulator)
    tl.store(sums + run * width + column, tl.sum(total, axis=0), mask=column < width)


def product_tile(width: int, element_bytes: int) -> tuple[int, int]:
    """Return rows and columns of a block of the one-hot product: a cache line of each row (wider spills registers)."""
    rows = 128 // element_bytes
    return rows, max(16, min(rows, triton.next_power_of_2(width)))


def _sum_by_product(ids: Tensor, values: Tensor, num_rows: int) -> Tensor:
    num_values, width = values.shape
    block_n, block_d = product_tile(width, values.element_size())
    chunk_rows = max(2 * block_n, triton.cdiv(num_values, NUM_CHUNKS))
    chunks = triton.cdiv(num_values, chunk_rows)
    partial = torch.empty(chunks, num_rows, width, dtype=torch.float32, device=values.device)
    wrap_triton(_one_hot_kernel)[(chunks, triton.cdiv(width, block_d))](
        ids,
        values,
        partial,
        num_values,
        width,
        num_rows,
        chunk_rows,
        WIDEN=INTERPRETED and values.dtype == torch.bfloat16,  # the interpreter multiplies bf16's bits as integers
        ROWS=max(16, triton.next_power_of_2(num_rows)),
        BLOCK_N=block_n,
        BLOCK_D=block_d,
    )
    return partial.sum(0)


def _sum_by_run(ids: Tensor, values: Tensor, num_rows: int) -> Tensor:
    num_values, width = values.shape
    accumulator = torch.promote_types(values.dtype, torch.float32)
    narrow = torch.int16 if num_rows < 2**15 else torch.int32  # a radix sort passes once over each byte
    keys = ids.long().clamp(-1, num_rows).to(narrow)  # ids out of range sort before the first and after the last row
    keys, order = torch.sort(keys, stable=True)
    offsets = torch.searchsorted(keys, torch.arange(num_rows + 1, dtype=keys.dtype, device=ids.device))
    cuts = torch.arange(0, num_values, RUN_ROWS, device=ids.device)
    starts = torch.sort(torch.cat([cuts, offsets])).values
    num_runs = starts.shape[0] - 1
    partial = torch.empty(num_runs, width, dtype=accumulator, device=values.device)
    sums = torch.empty(num_rows, width, dtype=accumulator, device=values.device)
    block_d = min(256, triton.next_power_of_2(width))
    shape = {"BLOCK_N": 16, "BLOCK_D": block_d}
    columns = triton.cdiv(width, block_d)
    wrap_triton(_run_sum_kernel)[(num_runs, columns)](values, order, starts, partial, width, **shape)
    runs_of = torch.searchsorted(starts, offsets)
    wrap_triton(_run_sum_kernel)[(num_rows, columns)](partial, None, runs_of, sums, width, **shape)
    return sums


@triton_op("dnar2mae::row_sum", mutates_args={})
@no_type_check
def row_sum(ids: Tensor, values: Tensor, num_rows: int, dtype: torch.dtype) -> Tensor:
    """Triton twin of :func:`.reference.row_sum`."""
    if values.numel() == 0:
        return values.new_zeros(num_rows, values.shape[1], dtype=dtype)
    ids, values = ids.contiguous(), values.contiguous()
    by_product = num_rows <= ONE_HOT_ROWS and values.dtype != torch.float64  # not every Triton multiplies fp64
    reduce = _sum_by_product if by_product else _sum_by_run
    return reduce(ids, values, num_rows).to(dtype)


@row_sum.register_fake
@no_type_check
def _(ids: Tensor, values: Tensor, num_rows: int, dtype: torch.dtype) -> Tensor:
    return values.new_empty(num_rows, values.shape[1], dtype=dtype)


@no_type_check
def _setup(ctx, inputs, output):
    ctx.save_for_backward(inputs[0])
    ctx.num_rows, ctx.dtype = inputs[2], inputs[1].dtype


@no_type_check
def _backward(ctx, grad):
    (ids,) = ctx.saved_tensors
    inside = (ids >= 0) & (ids < ctx.num_rows)
    return None, (grad[torch.where(inside, ids, 0).long()] * inside[:, None]).to(ctx.dtype), None, None


row_sum.register_autograd(_backward, setup_context=_setup)
