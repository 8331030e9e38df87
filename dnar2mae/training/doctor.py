"""Reports on a machine: versions, devices, and the backends that a run would use."""

from importlib.metadata import PackageNotFoundError, version

import torch

from dnar2mae.config import PretrainConfig
from dnar2mae.kernels.backend import why_unfused
from dnar2mae.models.attention import PREFERENCE, choose_backend, why_unavailable
from dnar2mae.run.directory import environment
from dnar2mae.training.device import choose_device, has_bf16

Rows = list[tuple[str, str]]

_OPTIONAL = {
    "flash-attn": "attention on CUDA: pip install 'dnar2mae[flash]'",
    "triton": "masking kernels on CUDA: comes with torch's CUDA build for Linux, else pip install 'dnar2mae[triton]'",
}
_EXTRAS = {
    "variants": ("pysam", "reads BCF files"),
    "regions": ("pyfaidx", "reads genome.fa:chr1:1001-2000 by the index of samtools"),
    "remote": ("fsspec", "reads from https:// (s3:// with s3fs, gs:// with gcsfs)"),
    "zstd": ("zstandard", "reads .zst files"),
    "parquet": ("pyarrow", "writes embeddings as .parquet, reads data sets of Hugging Face"),
    "cells": ("anndata", "reads and writes .h5ad files"),
    "images": ("Pillow", "reads folders of images"),
    "hf": ("transformers", "loads exported models, judges models of Hugging Face"),
    "onnx": ("onnxruntime", "writes models as .onnx files"),
    "tensorboard": ("tensorboard", "writes event files"),
    "flash": ("flash-attn", "attention on CUDA"),
}


def version_report() -> Rows:
    """Return the versions of packages, and how to install missing ones."""
    versions = environment()
    names = ("dnar2mae", "python", "torch", "numpy", "safetensors", "triton", "flash-attn")
    return [(name, versions[name] or f"not installed ({_OPTIONAL.get(name, 'needed')})") for name in names]


def extra_report() -> Rows:
    """Return what each optional package is for, and its version or how to install it."""
    rows = []
    for extra, (package, purpose) in _EXTRAS.items():
        try:
            state = version(package)
        except PackageNotFoundError:
            state = f"not installed: pip install 'dnar2mae[{extra}]'"
        rows.append((f"{extra} ({package})", f"{purpose}; {state}"))
    return rows


def device_report() -> Rows:
    """Return the devices, and the dtype of matrix products that ``--precision auto`` takes on each."""
    cpu = "bfloat16 (AVX512-BF16)" if has_bf16(torch.device("cpu")) else "float32 (no AVX512-BF16)"
    rows = [("cpu", f"{torch.get_num_threads()} threads, {cpu}")]
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        dtype = "bfloat16" if has_bf16(torch.device("cuda", index)) else "float32"
        rows.append((f"cuda:{index}", f"{card.name}, {card.total_memory / 2**30:.0f} GiB, {dtype}"))
    if len(rows) == 1:
        rows.append(("cuda", "none seen by this torch build: --device auto takes the CPU"))
    return rows


def attention_report() -> Rows:
    """Return of each attention backend on the default device: chosen, possible, or why not."""
    device, dtype = _default()
    chosen = choose_backend("auto", device, dtype)
    rows: Rows = []
    for name in PREFERENCE:
        reason = why_unavailable(name, device, dtype)
        state = f"not here: {reason}" if reason else "chosen by auto" if name == chosen else "possible"
        rows.append((name, state))
    return rows


def kernel_report() -> Rows:
    """Return which implementation of the masking kernels runs on the default device."""
    device, _ = _default()
    why = why_unfused(device)
    return [("masked_embedding, visible_gather", f"reference ({why})" if why else "triton (CUDA tensors)")]


def _default() -> tuple[torch.device, torch.dtype]:
    device, autocast = choose_device(PretrainConfig())
    return device, autocast or torch.float32
