"""Sum of the rows that share an id, without atomics, for the backward pass of a lookup."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dnar2mae.kernels.backend import Backend, use_triton
from dnar2mae.kernels.row_sum import reference


def row_sum(
    ids: Int[Tensor, " N"],
    values: Float[Tensor, "N D"],
    num_rows: int,
    *,
    dtype: torch.dtype | None = None,
    backend: Backend = "auto",
) -> Float[Tensor, "V D"]:
    """Add up the rows of each id; see :func:`.reference.row_sum`.

    The Triton version adds in a fixed order: the same inputs give the same bits on every run.

    Raises
    ------
    ConfigError
        If the backend is unknown or cannot run here.
    """
    if not use_triton(backend, values):
        return reference.row_sum(ids, values, num_rows, dtype=dtype)
    from dnar2mae.kernels.row_sum import triton as impl

    return impl.row_sum(ids, values, num_rows, dtype or values.dtype)
