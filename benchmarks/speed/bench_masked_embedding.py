"""What ``make gpu`` times of masked_embedding."""

import torch
from torch import Tensor

from dnar2mae.benchmarks.speed import eager
from dnar2mae.benchmarks.speed.measure import Case, TimedCase
from dnar2mae.kernels.backend import INTERPRETED, Backend
from dnar2mae.kernels.masked_embedding import masked_embedding


def problem(case: Case, device: str) -> TimedCase:
    """Triton, the definition, eager PyTorch and ``torch.compile`` of the latter, each with the embedding's norm."""
    x = eager.inputs(case, device)
    compiled = torch.compile(eager.masked_embedding, dynamic=False)

    def ours(backend: Backend) -> Tensor:
        return masked_embedding(x.table(), x.tokens, x.maskable, x.sample_ids, x.plan, backend=backend)[0]

    functions = {
        "reference": lambda: ours("reference"),
        "eager": lambda: eager.masked_embedding(x.weight, x.norm, x.tokens, x.maskable),
    }
    if device == "cuda" or INTERPRETED:
        functions["triton"] = lambda: ours("triton")
        functions["compiled"] = lambda: compiled(x.weight, x.norm, x.tokens, x.maskable)
    written = case.tokens * (case.width * case.dtype.itemsize + 1)
    read = case.tokens * (x.tokens.itemsize + 1) + x.weight.nbytes
    return TimedCase(functions=functions, parameters=[x.weight, x.norm], moved_bytes=written + read)
