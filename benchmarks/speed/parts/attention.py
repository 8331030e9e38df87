"""The attention backends at base's heads: whole and local, forward and backward."""

import torch

from dnar2mae.benchmarks.speed.measure import REPEATS, quantiles_ms
from dnar2mae.benchmarks.speed.parts.context import Context
from dnar2mae.models.attention import PREFERENCE, Backend, attention, why_unavailable

_LOCAL = 64  # rows to each side, as in the presets


def run(context: Context) -> None:
    """Write a row for each length, window, backend and mode to ``attention.csv``."""
    for tokens in (64, 128) if context.dry else (512, 8192, 2048):
        for window in (None, _LOCAL):
            for backend in PREFERENCE:
                reason = why_unavailable(backend, torch.device(context.device), torch.bfloat16)
                if reason:
                    print(f"{backend}: {reason}")
                    continue
                with context.attempt(f"attention {backend} {tokens} {window}"):
                    _measure(context, backend, tokens, window)


def _measure(context: Context, backend: Backend, tokens: int, window: int | None) -> None:
    batch, heads, width = (1, 2, 16) if context.dry else (65_536 // tokens, 12, 64)
    shape = batch, tokens, heads, width
    inputs = [torch.randn(shape, device=context.device).bfloat16().requires_grad_() for _ in range(3)]
    grad = torch.randn(shape, device=context.device).bfloat16()

    def forward() -> torch.Tensor:
        return attention(*inputs, window=window, backend=backend)

    def both() -> None:
        torch.autograd.grad(forward(), inputs, grad)

    seen = tokens if window is None else min(2 * window + 1, tokens)
    operations = 4 * batch * tokens * seen * heads * width
    for mode, call, factor in (("forward", forward, 1.0), ("forward+backward", both, 3.5)):  # recomputes the scores
        p20, p50, p80 = quantiles_ms(call, context.device, 2 if context.dry else REPEATS)
        row = {"backend": backend, "mode": mode, "dtype": "bfloat16", "batch": batch, "tokens": tokens, "heads": heads}
        row |= {"head_width": width, "window": window or "", "ms_p20": round(p20, 4), "ms_p50": round(p50, 4)}
        row |= {"ms_p80": round(p80, 4), "tflops": round(factor * operations / p50 / 1e9, 1)}
        context.append("attention", row)
