"""The fused kernels against eager PyTorch, ``torch.compile`` of it, and their definition.

``gb_per_s`` counts the fewest bytes that must be moved, not those that a backend really moves.
"""

import pkgutil
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dnar2mae.benchmarks.speed.measure import (
    KEY,
    OPERATORS,
    REPEATS,
    ROWS,
    Case,
    TimedCase,
    copy_bandwidth,
    quantiles_ms,
)
from dnar2mae.benchmarks.speed.parts.context import Context

BACKENDS = ("triton", "triton padded", "eager", "compiled", "reference")
"""The most informative first, should time run out."""


def run(context: Context) -> None:
    """Write a row for each operator, shape, backend and mode to ``speed.csv``."""
    copy = round(copy_bandwidth(context.device) / 1e9, 1)
    for case in cases(context.dry):
        for op in OPERATORS:
            problem = pkgutil.resolve_name(f"dnar2mae.benchmarks.speed.bench_{op}:problem")
            with context.attempt(f"{op} {case}"):
                torch.compiler.reset()  # a function compiled for too many shapes falls back to eager
                for backend, mode, call, moved in _calls(problem(case, context.device), case, context.device):
                    with context.attempt(f"{op} {backend} {mode} {case}"):
                        p20, p50, p80 = quantiles_ms(call, context.device, 2 if context.dry else REPEATS)
                        times = {"ms_p20": round(p20, 4), "ms_p50": round(p50, 4), "ms_p80": round(p80, 4)}
                        rate = {"gb_per_s": round(moved / p50 / 1e6, 1), "copy_gb_per_s": copy}
                        context.append(ROWS.stem, {**_key(op, backend, mode, case), **times, **rate})


def cases(dry: bool) -> list[Case]:
    """List the shapes to time, README's first."""
    if dry:
        return [Case(tokens=1024, vocabulary=8, width=32, dtype=torch.float32)]
    main = [(1 << 18, v, 768, torch.bfloat16) for v in (8, 4104, 32_768)]
    main += [(1 << 18, 8, 768, torch.float32), (1 << 20, 8, 768, torch.bfloat16), (1 << 17, 8, 320, torch.bfloat16)]
    main += [(1 << 14, 8, 256, torch.bfloat16), (1 << 18, 4104, 768, torch.float32)]
    return [Case(tokens=n, vocabulary=v, width=d, dtype=dtype) for n, v, d, dtype in main]


def _key(op: str, backend: str, mode: str, case: Case) -> dict[str, Any]:
    dtype = str(case.dtype).removeprefix("torch.")
    return dict(zip(KEY, [op, backend, mode, dtype, case.tokens, case.vocabulary, case.width], strict=True))


def _calls(problem: TimedCase, case: Case, device: str) -> Iterator[tuple[str, str, Callable[[], object], int]]:
    """Yield backend, mode, function and fewest bytes; the backward pass also reads the gradient of the output."""
    grad = torch.randn(case.tokens, case.width, device=device).to(case.dtype)

    def both(function: Callable[[], Tensor]) -> None:
        out = function().flatten(0, -2)
        torch.autograd.grad(out, problem.parameters, grad[: len(out)])

    for backend in filter(problem.functions.__contains__, BACKENDS):
        function = problem.functions[backend]
        out = function().detach().flatten(0, -2)
        moved, of_gradient = problem.moved_bytes(out), out.nbytes
        del out
        yield backend, "forward", function, moved
        yield backend, "forward+backward", partial(both, function), moved + of_gradient
