"""The choice between the implementations of an operator."""

import os
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

from dnar2mae.errors import ConfigError
from dnar2mae.masking import MaskPlan

Backend = Literal["auto", "reference", "triton"]
"""``auto`` is Triton on CUDA, where it is installed, and the PyTorch definition elsewhere."""

INSTALLED = find_spec("triton") is not None
"""Torch's CUDA build for Linux brings Triton; others do not."""

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Triton runs in its interpreter, on any device: for tests. Set before the first import of triton."""


def why_unfused(device: torch.device) -> str | None:
    """Return why ``auto`` takes the PyTorch definitions on a device; None if it takes Triton."""
    if device.type != "cuda":
        return f"the tensors are on {device.type}; the Triton kernels need CUDA"
    return None if INSTALLED else "triton is not installed: pip install 'dnar2mae[triton]'"


def use_triton(backend: str, tensor: Tensor, plan: MaskPlan | None = None) -> bool:
    """Return whether the Triton kernels run for a tensor, any of the operator's inputs: its device decides.

    Of an operator that draws masks, only the PyTorch definition can place spans and words, which ``plan`` may ask for;
    it also draws ratios that are spread evenly, and complements of masks, under every backend.

    Raises
    ------
    ConfigError
        If the name is unknown, or ``triton`` is not installed, or cannot run on this device or with this placement of
        masks.
    """
    if backend not in ("auto", "reference", "triton"):
        raise ConfigError(f"backend must be auto, reference or triton, got {backend}")
    if backend == "triton" and not INSTALLED:
        raise ConfigError("backend triton needs the package triton: pip install 'dnar2mae[triton]'")
    if backend == "triton" and plan is not None and plan.placement is not None:
        raise ConfigError("backend triton draws each token's mask by itself; spans and words need auto or reference")
    if plan is not None and not plan.fits_kernels:
        return False
    if backend != "triton":
        return backend == "auto" and why_unfused(tensor.device) is None
    if not (tensor.is_cuda or INTERPRETED):
        raise ConfigError(f"backend triton needs CUDA tensors (or TRITON_INTERPRET=1), got {tensor.device}")
    return True
