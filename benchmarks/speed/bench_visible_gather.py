"""The calls of visible_gather that ``make gpu`` times."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dnar2mae.benchmarks.speed import eager
from dnar2mae.benchmarks.speed.measure import Case, TimedCase
from dnar2mae.kernels.backend import INTERPRETED, Backend
from dnar2mae.kernels.visible_gather import visible_gather


def problem(case: Case, device: str) -> TimedCase:
    """Return Triton, the definition, eager PyTorch and ``torch.compile`` of the latter, each with the embedding's norm.

    ``triton`` gets the numbers of visible tokens, as in training; ``triton padded`` needs none and writes all rows. In
    bf16 the weights are fp32 and the output bf16, as training under autocast has them.
    """
    x = eager.inputs(case, device)
    valid = torch.ones_like(x.maskable)
    compiled = torch.compile(eager.visible_gather, dynamic=False)

    def ours(backend: Backend, lengths: Sequence[int] | None = None, *, padded: bool = False) -> Tensor:
        samples = x.tokens, valid, x.maskable, x.sample_ids
        settings: dict[str, Any] = {"lengths": lengths, "padded": padded, "dtype": case.dtype, "backend": backend}
        return visible_gather(x.table(), *samples, x.plan, **settings).embedded

    def moved(out: Tensor) -> int:
        return out.nbytes + 12 * out.shape[0] + case.tokens * (x.tokens.itemsize + 11) + x.weight.nbytes

    functions = {
        "reference": lambda: ours("reference"),
        "eager": lambda: eager.visible_gather(x.weight, x.norm, x.tokens, x.maskable, case.dtype),
    }
    if device == "cuda" or INTERPRETED:
        gathered = visible_gather(x.table(), x.tokens, valid, x.maskable, x.sample_ids, x.plan, padded=True)
        lengths = gathered.cu_seqlens.diff().tolist()
        functions["triton"] = lambda: ours("triton", lengths)
        functions["triton padded"] = lambda: ours("triton", padded=True)
        functions["compiled"] = lambda: compiled(x.weight, x.norm, x.tokens, x.maskable, case.dtype)
    return TimedCase(functions=functions, parameters=[x.weight, x.norm], moved_bytes=moved)
