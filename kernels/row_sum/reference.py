"""Sum of the rows that share an id: the definition that the Triton kernels must match."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def row_sum(
    ids: Int[Tensor, " N"],
    values: Float[Tensor, "N D"],
    num_rows: int,
    *,
    dtype: torch.dtype | None = None,
    upcast: bool = True,
) -> Float[Tensor, "V D"]:
    r"""Add up the rows of each id: the weight gradient of an embedding.

    .. math:: y_v = \sum_{n : i_n = v} x_n

    Parameters
    ----------
    ids
        Id of each row. Rows whose id is outside [0, num_rows) are left out.
    values
        Rows to sum.
    num_rows
        Number V of ids.
    dtype
        Type of the sums, by default that of ``values``.
    upcast
        Accumulate in at least fp32 (the definition). ``False`` stays in the dtype of ``values``: tests measure
        by it the error of a plain PyTorch version.

    Returns
    -------
    Tensor
        Row v is the sum for id v (zero where none has it).
    """
    accumulator = torch.promote_types(values.dtype, torch.float32) if upcast else values.dtype
    ids = ids.long()
    bucket = torch.where((ids >= 0) & (ids < num_rows), ids, num_rows)
    total = torch.zeros(num_rows + 1, values.shape[1], dtype=accumulator, device=values.device)
    return total.index_add(0, bucket, values.to(accumulator))[:num_rows].to(dtype or values.dtype)
