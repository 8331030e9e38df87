"""Time for which a checkpoint stops training, and times of writing it to disk and reading it again.

    python -m dnar2mae.benchmarks.speed.bench_checkpoint --preset base

Prints the rate of each part and its ratio to the floor (copying as many bytes in memory; writing them to a file and
flushing it), and appends rows to ``benchmarks/results/checkpoint.csv``.
"""

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
import tyro

from dnar2mae.benchmarks.speed.bench_genome import seconds
from dnar2mae.benchmarks.speed.rows import stamp
from dnar2mae.models import MaskedModel
from dnar2mae.presets import PRESETS
from dnar2mae.run.checkpoint import Snapshot, load_checkpoint
from dnar2mae.tokenizers import KmerTokenizer
from dnar2mae.training.optimizer import build_optimizer

RESULTS = Path(__file__).parents[1] / "results" / "checkpoint.csv"


@dataclass(frozen=True, kw_only=True)
class CheckpointBenchSettings:
    """Time a checkpoint."""

    preset: str = "base"
    """Sizes of the model."""
    folder: str | None = None
    """Where to write; by default a temporary folder."""


def write_plain(path: Path, content: bytes) -> None:
    """Write and flush without checksums or renaming: the floor."""
    with path.open("wb", buffering=0) as file:
        left = memoryview(content)  # one write() takes at most 2 GiB on Linux
        while left:
            left = left[file.write(left) :]
        os.fsync(file.fileno())


def main(settings: CheckpointBenchSettings) -> int:
    """Build, time, print, record."""
    config = PRESETS[settings.preset]()
    model = MaskedModel.of_tokens(config.model, KmerTokenizer().vocabulary)
    model.reset_parameters(torch.Generator().manual_seed(0))
    optimizer = build_optimizer(model, config.optimizer)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    state = {"step": 1, "history": [], "guard": [0.0, 0.0]}
    # Weights and AdamW's two moments, 4 bytes each.
    num_bytes = 12 * sum(parameter.numel() for parameter in model.parameters())
    block, target = torch.ones(num_bytes // 4), torch.empty(num_bytes // 4)
    copied = min(seconds(lambda: target.copy_(block)) for _ in range(3))
    with tempfile.TemporaryDirectory(dir=settings.folder) as folder:
        path = Path(folder) / "checkpoints" / "step-00000001"
        plain = seconds(lambda: write_plain(Path(folder) / "plain", block.numpy().tobytes()))
        times = {"copy, training waits": (seconds(lambda: Snapshot.take(model, optimizer, state)), copied)}
        snapshot = Snapshot.take(model, optimizer, state)
        times["write, checksums, flush"] = (seconds(lambda: snapshot.write(path)), plain)
        times["check and read"] = (seconds(lambda: load_checkpoint(path, model, optimizer)), copied)
    about = stamp()
    rows = [
        {
            "what": what,
            "seconds": round(taken, 2),
            "gb_per_s": round(num_bytes / 1e9 / taken, 3),
            "share_of_floor": round(floor / taken, 3),
            "gb": round(num_bytes / 1e9, 3),
            "preset": settings.preset,
            "threads": torch.get_num_threads(),
            **{name: about[name] for name in ("commit", "date", "device")},
        }
        for what, (taken, floor) in times.items()
    ]
    table = pd.DataFrame(rows)
    print(table.iloc[:, :5].to_string(index=False))
    table.to_csv(RESULTS, mode="a", header=not RESULTS.exists(), index=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(CheckpointBenchSettings)))
