"""The calls of masked_embedding that ``make gpu`` times."""

import torch
from torch import Tensor

from dnar2mae.benchmarks.speed import eager
from dnar2mae.benchmarks.speed.measure import Case, TimedCase
from dnar2mae.kernels.backend import INTERPRETED, Backend
from dnar2mae.kernels.masked_embedding import masked_embedding


def problem(case: Case, device: str) -> TimedCase:
    """Return Triton, the definition, eager PyTorch and ``torch.compile`` of the latter, each with the embedding's norm.

    In bf16 the weights are fp32 and the output bf16, as training under autocast has them.
    """
    x = eager.inputs(case, device)
    compiled = torch.compile(eager.masked_embedding, dynamic=False)

    def ours(backend: Backend) -> Tensor:
        samples = x.tokens, x.maskable, x.sample_ids
        return masked_embedding(x.table(), *samples, x.plan, dtype=case.dtype, backend=backend)[0]

    def moved(out: Tensor) -> int:
        return out.nbytes + case.tokens * (x.tokens.itemsize + 2) + x.weight.nbytes

    functions = {
        "reference": lambda: ours("reference"),
        "eager": lambda: eager.masked_embedding(x.weight, x.norm, x.tokens, x.maskable, case.dtype),
    }
    if device == "cuda" or INTERPRETED:
        functions["triton"] = lambda: ours("triton")
        functions["compiled"] = lambda: compiled(x.weight, x.norm, x.tokens, x.maskable, case.dtype)
    return TimedCase(functions=functions, parameters=[x.weight, x.norm], moved_bytes=moved)
