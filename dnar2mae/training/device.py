"""Where a run computes, and in which precision."""

import torch

from dnar2mae.config import PretrainConfig
from dnar2mae.distributed import local_device
from dnar2mae.errors import ConfigError


def choose_device(config: PretrainConfig) -> tuple[torch.device, torch.dtype | None]:
    """Device of a run and the type of its matrix products (None: that of the weights, fp32).

    Raises
    ------
    ConfigError
        If the device does not exist or has no bfloat16 although asked for.
    """
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(local_device(name))
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--device must be one that this machine has, got {name}: {reason}") from error
    if device.type == "cuda":
        torch.cuda.set_device(device)  # where Triton launches
    if config.precision == "fp32":
        return device, None
    fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return device, torch.bfloat16 if fast or config.precision == "bf16" else None
