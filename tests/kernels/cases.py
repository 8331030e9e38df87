"""Random batches that the kernel tests share, and processes of their own for what pytest's hooks disturb."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from dnar2mae.config import MaskConfig
from dnar2mae.masking import Masker
from dnar2mae.tokenizers.vocabulary import Vocabulary

SPECIAL = 3  # [PAD], [MASK], [UNK]
FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def make_plan(*, anchor_stride=1, num_real=5, seed=7, step=3, **config):
    """Plan of one step of a run of 10 steps, by default the paper's law with a ratio for each sample."""
    config = {"per": "sample", "replace": (0.5, 0.3, 0.2), **config}
    vocabulary = Vocabulary(
        size=SPECIAL + num_real,
        pad_id=0,
        mask_id=1,
        unk_id=2,
        first_real=SPECIAL,
        num_real=num_real,
        anchor_stride=anchor_stride,
    )
    return Masker(MaskConfig(**config), vocabulary, seed, total_steps=10).plan(step)


def make_batch(batch, length, *, num_real=5, dtype=torch.int64, device="cpu", seed=0):
    """Tokens, valid, maskable and sample ids: real tokens with some [UNK] and padding at the end of each row."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(SPECIAL, SPECIAL + num_real, (batch, length), generator=generator)
    tokens[torch.rand(batch, length, generator=generator) < 0.1] = 2
    ends = torch.randint(length // 2, length + 1, (batch, 1), generator=generator)
    valid = torch.arange(length) < ends
    tokens = torch.where(valid, tokens, 0)
    sample_ids = torch.randint(0, 2**62, (batch,), generator=generator)
    maskable = tokens >= SPECIAL
    return tuple(x.to(device) for x in (tokens.to(dtype), valid, maskable, sample_ids))


def make_weight(num_real, width, dtype=torch.float32, device="cpu"):
    """Embedding rows that ask for a gradient."""
    return torch.randn(SPECIAL + num_real, width, device=device).to(dtype).requires_grad_()


def run_script(script, **env):
    """Output of a script in a process of its own, without shape checks; an ``env`` of None unsets a variable."""
    root = str(Path(__file__).resolve().parents[2])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), root]), **env}
    env = {key: value for key, value in env.items() if value is not None}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def run_compiled(script, cache):
    """Output of a script in a process where Triton compiles instead of interpreting."""
    return run_script(script, TRITON_INTERPRET=None, TRITON_CACHE_DIR=str(cache))
