"""Versions, devices and backends of the machine, and its two ceilings: copy bandwidth and matrix products."""

import torch

from dnar2mae.benchmarks.speed.measure import copy_bandwidth, quantiles_ms
from dnar2mae.benchmarks.speed.parts.context import Context
from dnar2mae.training.doctor import attention_report, device_report, kernel_report, version_report


def run(context: Context) -> None:
    """Write a row for each line of ``dnar2mae doctor`` and for each ceiling to ``checks.csv``."""
    reports = {"version": version_report, "device": device_report, "attention": attention_report}
    for what, report in {**reports, "kernels": kernel_report}.items():
        for name, state in report():
            check(context, what, name, state)
    with context.attempt("copy bandwidth"):
        check(context, "ceiling", "copy, GB/s read and written", f"{copy_bandwidth(context.device) / 1e9:.0f}")
    with context.attempt("matrix product"):
        check(context, "ceiling", "bf16 matrix product, TFLOP/s", f"{_product_tflops(context):.3g}")


def check(context: Context, what: str, name: str, state: str, seconds: float | None = None) -> None:
    """Write a row to ``checks.csv``."""
    context.append("checks", {"what": what, "name": name, "state": state, "seconds": seconds})


def _product_tflops(context: Context) -> float:
    size = 256 if context.dry else 8192
    left, right = (torch.randn(size, size, device=context.device).bfloat16() for _ in range(2))
    return 2 * size**3 / quantiles_ms(lambda: left @ right, context.device, 10)[1] / 1e9
