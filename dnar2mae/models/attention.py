"""Attention behind one function: dense or packed, global or in a sliding window, by the best backend here.

``flash_attn`` is the flash-attn package, ``varlen`` is :mod:`torch.nn.attention.varlen` (both CUDA, 16-bit), ``sdpa``
is :func:`torch.nn.functional.scaled_dot_product_attention` (everywhere). All attend in both directions with scale
``K ** -0.5``; a window of w lets a query see the keys at most w positions away in memory.
"""

from importlib.util import find_spec
from inspect import signature
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

try:
    from torch.nn.attention import varlen
except ImportError:  # before torch 2.10
    varlen = None  # type: ignore[assignment]

from dnar2mae.errors import ConfigError
from dnar2mae.models.matmul_attention import matmul_attention
from dnar2mae.models.packing import Packing

Backend = Literal["auto", "flash_attn", "varlen", "sdpa"]
PREFERENCE: tuple[Backend, ...] = ("flash_attn", "varlen", "sdpa")
"""What ``auto`` tries, in this order."""
_SHORT = 1024  # rows up to which bf16 training on a CPU is faster by matrix products than by SDPA
_HALF = (torch.float16, torch.bfloat16)
_HEAD_STEP, _WIDEST_HEAD, _AMPERE = 8, 256, (8, 0)  # what the kernels of FlashAttention 2 require
_HAS_FLASH_ATTN = find_spec("flash_attn") is not None
# torch.nn.attention.varlen came without windows, which local layers need
_HAS_VARLEN = varlen is not None and "window_size" in signature(varlen.varlen_attn).parameters


def choose_backend(
    requested: Backend, device: torch.device, dtype: torch.dtype, head_width: int = _HEAD_STEP
) -> Backend:
    """Return the backend that ``requested`` stands for, given the device, the dtype and the width of a head.

    Raises
    ------
    ConfigError
        If a backend named explicitly cannot run there; the message says why.
    """
    if requested == "auto":
        for name in PREFERENCE:
            if why_unavailable(name, device, dtype, head_width) is None:
                return name
    reason = why_unavailable(requested, device, dtype, head_width)
    if reason is not None:
        raise ConfigError(f"--attention {requested} cannot run here: {reason}")
    return requested


def why_unavailable(
    backend: Backend, device: torch.device, dtype: torch.dtype, head_width: int = _HEAD_STEP
) -> str | None:
    """Return why a backend cannot run on this device, in this dtype and with heads of this width; None if it can."""
    if backend == "sdpa":
        return None
    if device.type != "cuda":
        return f"it needs a CUDA GPU, and the tensors are on {device.type}"
    if dtype not in _HALF:
        return f"it needs bf16 or fp16, and the tensors are {str(dtype).removeprefix('torch.')}"
    if backend == "flash_attn" and not _HAS_FLASH_ATTN:
        return "the flash-attn package is not installed: pip install 'dnar2mae[flash]'"
    if backend == "varlen" and not _HAS_VARLEN:
        return f"torch {torch.__version__} has no windowed torch.nn.attention.varlen"
    return _why_no_flash(device, head_width)


def _why_no_flash(device: torch.device, head_width: int) -> str | None:
    """Return which of FlashAttention 2's conditions is not met; None if all are."""
    if head_width % _HEAD_STEP or head_width > _WIDEST_HEAD:
        return f"it needs heads whose width is a multiple of {_HEAD_STEP}, at most {_WIDEST_HEAD}, got {head_width}"
    major, minor = torch.cuda.get_device_capability(device)
    is_old = (major, minor) < _AMPERE
    return f"it needs compute capability 8.0 (Ampere), and this GPU has {major}.{minor}" if is_old else None


def attention(
    query: Float[Tensor, "*N H K"],
    key: Float[Tensor, "*N H K"],
    value: Float[Tensor, "*N H K"],
    *,
    packing: Packing | None = None,
    window: int | None = None,
    backend: Backend = "auto",
) -> Float[Tensor, "*N H K"]:
    """Compute softmax attention among the tokens of each sequence.

    Parameters
    ----------
    query, key, value
        [B, T, H, K], or [N, H, K] with ``packing``.
    packing
        Where the sequences lie; the output of rows past the last sequence is undefined.
    window
        See only keys at most this many rows away; by default all.
    backend
        See the module's notes.

    Returns
    -------
    Tensor
        Mixed values, in the layout of the input.

    Raises
    ------
    ConfigError
        If the backend cannot run on these tensors.
    """
    if not query.numel():  # no token is visible in a whole micro-batch: kernels refuse tensors without rows
        return value
    chosen = choose_backend(backend, query.device, query.dtype, query.shape[-1])
    if window is None or chosen != "sdpa":  # kept for the backward pass: of a view, all of the joint projection
        value = value.contiguous()
    if chosen == "sdpa":
        if packing is None:
            return _sdpa(query, key, value, window)
        return _sdpa_packed(query, key, value, packing, window)
    if packing is None:  # these kernels take packed rows only: a batch is packed sequences of one length
        batch, length = query.shape[:2]
        cu_seqlens = torch.arange(0, (batch + 1) * length, length, device=query.device, dtype=torch.int32)
        rows = [x.reshape(batch * length, *x.shape[2:]) for x in (query, key, value)]
        return _varlen(chosen, rows, cu_seqlens, length, window).view_as(query)
    return _varlen(chosen, [query, key, value], packing.cu_seqlens, packing.max_length, window)


def _varlen(
    backend: Backend, rows: list[Tensor], cu_seqlens: Tensor, max_length: int, window: int | None
) -> Float[Tensor, "N H K"]:
    reach = (-1, -1) if window is None else (window, window)  # -1: no limit
    query, key, value = rows
    if backend == "flash_attn":
        from flash_attn import flash_attn_varlen_func as attend
    else:
        attend = varlen.varlen_attn
    return attend(query, key, value, cu_seqlens, cu_seqlens, max_length, max_length, window_size=reach)


def _sdpa_packed(
    query: Tensor, key: Tensor, value: Tensor, packing: Packing, window: int | None
) -> Float[Tensor, "N H K"]:
    """Attend without padding: windows slide over all sequences in a row; without one, each sequence is a call."""
    if window is not None:
        segments = packing.segments(len(query))
        return matmul_attention(query[None], key[None], value[None], window, segments)[0]
    return one_by_one(query, key, value, packing)


def one_by_one(query: Tensor, key: Tensor, value: Tensor, packing: Packing) -> Float[Tensor, "N H K"]:
    """Attend within each sequence in a call of its own; the host reads the lengths, so this must not be compiled."""
    rest = len(query) - sum(packing.lengths)  # rows of a padded buffer behind the last sequence
    parts = zip(*(x.split([*packing.lengths, rest]) for x in (query, key, value)), strict=True)
    return torch.cat([_sdpa(q[None], k[None], v[None], None)[0] if len(q) else q for q, k, v in parts])


def _sdpa(query: Tensor, key: Tensor, value: Tensor, window: int | None) -> Float[Tensor, "B T H K"]:
    if torch.compiler.is_exporting():
        return _sdpa_of_any_length(query, key, value, window)
    length = query.shape[1]
    if window is not None and window < length - 1:  # a wider window sees everything
        return matmul_attention(query, key, value, window)
    on_matrix_units = query.device.type == "cpu" and query.dtype is torch.bfloat16 and length <= _SHORT
    if on_matrix_units and query.requires_grad:
        return matmul_attention(query, key, value, None)
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2)


def _sdpa_of_any_length(query: Tensor, key: Tensor, value: Tensor, window: int | None) -> Float[Tensor, "B T H K"]:
    """Attend by a mask of all pairs: in an exported graph no length may decide a branch or a number of blocks."""
    position = torch.arange(query.shape[1], device=query.device)
    visible = None if window is None else (position[:, None] - position).abs() <= window
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, attn_mask=visible).transpose(1, 2)
