"""Where a run computes, and in which precision."""

import warnings

import torch

from dnar2mae.config import PretrainConfig
from dnar2mae.distributed import local_device
from dnar2mae.errors import ConfigError
from dnar2mae.kernels.backend import INSTALLED, INTERPRETED
from dnar2mae.models.attention import choose_backend

_SLOWDOWN = 7.4  # measured: the tiny preset in bf16 on a CPU without AVX512-BF16, against fp32


def choose_device(config: PretrainConfig) -> tuple[torch.device, torch.dtype | None]:
    """Return the device of a run and the type of its matrix products (None: that of the weights, fp32).

    Raises
    ------
    ConfigError
        If the device does not exist.
    """
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(local_device(name))
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0]  # torch goes on with all of its backends
        raise ConfigError(f"--device must be one that this machine has, got {name}: {reason}") from error
    if device.type == "cuda":
        # Triton launches on the current device, which torch lets nobody set without an index.
        device = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
        torch.cuda.set_device(device)
    if config.precision == "fp32":
        return device, None
    return device, torch.bfloat16 if config.precision == "bf16" or has_bf16(device) else None


def has_bf16(device: torch.device) -> bool:
    """Return whether a device computes products of bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def check_trainable(config: PretrainConfig, device: torch.device, autocast: torch.dtype | None) -> None:
    """Check, before anything is built, that a device can train what a configuration describes.

    Raises
    ------
    ConfigError
        If the device has no 64-bit floats, or ``attention`` cannot run there with the model's heads, or ``kernels`` not
        at all.

    Warns
    -----
    UserWarning
        bf16 is asked for and the hardware has none.
    """
    if device.type == "mps":
        raise ConfigError(
            "--device mps cannot train: it has no 64-bit floats, in which mask ratios are drawn and held-out losses "
            "summed; take cpu or cuda"
        )
    if config.kernels == "triton" and device.type != "cuda" and not INTERPRETED:
        raise ConfigError(
            f"--kernels triton needs a CUDA GPU, and the run is on {device.type}; auto takes what runs there"
        )
    if config.kernels == "triton" and not INSTALLED:
        raise ConfigError(
            "--kernels triton needs the package triton: pip install 'dnar2mae[triton]'; auto does without"
        )
    for width in config.model.head_widths:
        choose_backend(config.attention, device, autocast or torch.float32, width)
    if config.precision == "bf16" and not has_bf16(device):
        warnings.warn(
            f"--precision bf16: this {device.type} has no bfloat16 arithmetic and imitates it, some {_SLOWDOWN} times "
            "slower than fp32; auto takes what is fast",
            stacklevel=2,
        )
