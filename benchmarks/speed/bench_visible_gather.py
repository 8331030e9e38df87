"""What ``make gpu`` times of visible_gather."""

import torch
from torch import Tensor

from dnar2mae.benchmarks.speed import eager
from dnar2mae.benchmarks.speed.measure import Case, TimedCase
from dnar2mae.kernels.backend import INTERPRETED, Backend
from dnar2mae.kernels.visible_gather import visible_gather


def problem(case: Case, device: str) -> TimedCase:
    """Triton, the definition, eager PyTorch and ``torch.compile`` of the latter, each with the embedding's norm."""
    x = eager.inputs(case, device)
    valid = torch.ones_like(x.maskable)
    compiled = torch.compile(eager.visible_gather, dynamic=False)

    def ours(backend: Backend) -> Tensor:
        arguments = x.table(), x.tokens, valid, x.maskable, x.sample_ids, x.plan
        return visible_gather(*arguments, backend=backend).embedded

    functions = {
        "reference": lambda: ours("reference"),
        "eager": lambda: eager.visible_gather(x.weight, x.norm, x.tokens, x.maskable),
    }
    if device == "cuda" or INTERPRETED:
        functions["triton"] = lambda: ours("triton")
        functions["compiled"] = lambda: compiled(x.weight, x.norm, x.tokens, x.maskable)
    visible = len(ours("reference"))
    written = visible * (case.width * case.dtype.itemsize + 12) + case.tokens * 5
    read = case.tokens * (x.tokens.itemsize + 6) + x.weight.nbytes
    return TimedCase(functions=functions, parameters=[x.weight, x.norm], moved_bytes=written + read)
