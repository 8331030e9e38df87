"""Pretraining throughput against Hugging Face's ModernBERT with ``Trainer`` and its masking collator, in one run.

Identical architecture, windows, batch, mean mask ratio, precision and optimizer. Both include their data loading,
masking, forward, backward and optimizer step. Runs alternate and the median of the rounds is reported.

    python -m dnar2mae.benchmarks.speed.end_to_end --preset tiny --context 512 --batch 8

Prints tokens per second, their ratio, model-FLOP utilisation (on a known GPU), peak memory, and the share of the time
spent waiting for data; appends a row to ``benchmarks/results/end_to_end.csv`` as soon as a side has run.
"""

import gc
import math
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro

from dnar2mae.benchmarks.speed import hugging_face, rows
from dnar2mae.config import DataConfig, MaskConfig, ModelConfig, PretrainConfig
from dnar2mae.modalities.dna.modality import DnaModality
from dnar2mae.presets import PRESETS
from dnar2mae.run.directory import RunDirectory
from dnar2mae.training.device import choose_device
from dnar2mae.training.trainer import Trainer

FILE = Path(__file__).parents[1] / "results" / "end_to_end.csv"
OURS, THEIRS = "dnar2mae", "hugging face"
WARM_UP = 5  # steps
Objective = Literal["mlm", "mae"]
MODERNBERTS = {
    "tiny": ModelConfig(width=128, depth=6, heads=2, mlp_width=192, global_every=3, local_tokens=32),
    "small": ModelConfig(width=320, depth=12, heads=5, mlp_width=480, global_every=3),
    "base": ModelConfig(width=768, depth=22, heads=12, mlp_width=1152, global_every=3),
    "large": ModelConfig(width=1024, depth=28, heads=16, mlp_width=2624, global_every=3),
}
"""Sizes that both sides can build, those of base and large the published ones."""
PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0, "A100": 312.0}
"""Dense bf16 peak of the data sheets."""


@dataclass(frozen=True, kw_only=True)
class EndToEndSettings:
    """Compare with Hugging Face's Trainer."""

    preset: str = "tiny"
    """Sizes of the ModernBERT: tiny, small, base or large."""
    context: int = 512
    """Tokens of a window."""
    batch: int = 8
    """Windows of a step."""
    steps: int = 20
    """Timed steps of a round, after 5 that warm up."""
    rounds: int = 3
    """Alternating rounds."""
    compile: bool = False
    """Compile both models."""
    workers: int = 0
    """Processes that prepare batches, on both sides."""
    objective: Objective = "mlm"
    """mae: time our mae objective at mean ratio 0.5 against our mlm one instead."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """As in pretraining, on both sides."""
    checkpoint: str | None = None
    """Folder of a local masked or causal Hugging Face model to time instead of the identical ModernBERT."""


def random_genome(folder: Path, length_bp: int = 2_000_000) -> Path:
    """Write a FASTA of random bases."""
    bases = np.frombuffer(b"ACGT", np.uint8)[np.random.default_rng(0).integers(0, 4, length_bp)]
    path = folder / "random.fa"
    path.write_bytes(b">random\n" + bases.tobytes() + b"\n")
    return path


def run_config(settings: EndToEndSettings, genome: Path, objective: Objective) -> PretrainConfig:
    """Return the settings of our run: ModernBERT under AdamW, the benchmark's window and batch, a fixed ratio."""
    config = PRESETS[settings.preset]()
    ratio = 0.15 if settings.objective == "mlm" else 0.5
    return replace(
        config,
        optimizer=replace(config.optimizer, muon_lr=None),
        data=DataConfig(genomes=(str(genome),), window_bp=settings.context),
        mask=MaskConfig(law="fixed", ratio=ratio),
        model=replace(MODERNBERTS[settings.preset], objective=objective),
        batch_size=settings.batch,
        precision=settings.precision,
        micro_batch=None,  # Trainer takes the whole batch at once too
        steps=settings.steps + WARM_UP,
        compile=settings.compile,
        num_workers=settings.workers,
    )


def our_trainer(config: PretrainConfig, folder: Path) -> Trainer:
    """Build the Trainer of a run in ``folder / "run"``."""
    device, autocast = choose_device(config)
    return Trainer(config, DnaModality(config), RunDirectory(folder / "run"), device, autocast)


def training_steps(config: PretrainConfig, folder: Path) -> Iterator[float]:
    """Do one training step for each item, and yield the seconds that the step waited for its batch."""
    trainer = our_trainer(config, folder)
    source = iter(trainer.batches())
    for _ in range(config.steps):
        start = time.perf_counter()
        batch = next(source)
        waited = time.perf_counter() - start
        trainer.training_step(batch)
        yield waited


def time_ours(config: PretrainConfig, folder: Path) -> dict[str, float]:
    """Return the seconds of the timed steps, and of waiting for data in them."""
    steps = training_steps(config, folder)
    for _ in range(WARM_UP):
        next(steps)
    synchronise()
    start = time.perf_counter()
    waited = sum(steps)
    synchronise()
    return {"seconds": time.perf_counter() - start, "waited": waited}


def time_theirs(config: PretrainConfig, folder: Path, checkpoint: str | None = None) -> dict[str, float]:
    """Do the same with ``transformers``: the stock model, collator and Trainer."""
    start = math.nan

    def after_step(step: int) -> None:
        nonlocal start
        if step == WARM_UP:
            synchronise()
            start = time.perf_counter()

    hugging_face.train(
        hugging_face.stock_trainer(config, DnaModality(config), folder, checkpoint=checkpoint), after_step
    )
    synchronise()
    return {"seconds": time.perf_counter() - start, "waited": math.nan}


def model_flops_per_token(config: PretrainConfig) -> int:
    """Return the operations of both passes: 6 a weight, and 12 D for each token that a layer attends to."""
    model = config.model
    weights = model.depth * (4 * model.width**2 + 3 * model.width * model.mlp_width)
    tokens = config.data.window_bp
    seen = [tokens if i % model.global_every == 0 else min(model.local_tokens, tokens) for i in range(model.depth)]
    return 6 * weights + 12 * model.width * sum(seen)


def synchronise() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure(settings: EndToEndSettings, side: str, genome: Path, folder: Path) -> dict[str, Any]:
    """Run one side once (dnar2mae or hugging face; under the objective ``mae`` mae or mlm); return its row."""
    config = run_config(settings, genome, "mae" if side == "mae" else "mlm")
    device, autocast = choose_device(config)
    gc.collect()  # the model of the run before, which reference cycles of a Trainer keep in memory
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    result = time_theirs(config, folder, settings.checkpoint) if side == THEIRS else time_ours(config, folder)
    rate = settings.steps * settings.batch * settings.context / result["seconds"]
    row: dict[str, Any] = {"side": side, "tokens_per_s": f"{rate:.0f}"}
    row |= {"wait_share": f"{result['waited'] / result['seconds']:.4f}", "mfu": f"{_mfu(rate, config):.3f}"}
    row["peak_mb"] = f"{torch.cuda.max_memory_allocated() / 2**20 if device.type == 'cuda' else math.nan:.0f}"
    row |= {"preset": settings.preset, "context_tokens": settings.context, "batch": settings.batch}
    row |= {"objective": settings.objective, "dtype": str(autocast or torch.float32), "compile": settings.compile}
    return row


def _mfu(tokens_per_s: float, config: PretrainConfig) -> float:
    """Return the model-FLOP utilisation; NaN on a device whose peak is not known."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    peak = next((value for key, value in PEAK_TFLOPS.items() if key in name), math.nan)
    return tokens_per_s * model_flops_per_token(config) / (peak * 1e12)


def main(settings: EndToEndSettings) -> int:
    """Alternate the sides, print and record."""
    warnings.filterwarnings("ignore")
    sides = ("mae", "mlm") if settings.objective == "mae" else (OURS, THEIRS)
    rates: dict[str, list[float]] = {side: [] for side in sides}
    about = rows.stamp()
    with tempfile.TemporaryDirectory() as folder:
        genome = random_genome(Path(folder))
        for _ in range(settings.rounds):
            for side in sides:
                row = measure(settings, side, genome, Path(folder))
                rows.append(FILE, {**row, **about})
                rates[side].append(float(row["tokens_per_s"]))
                print(f"{side:14} {rates[side][-1]:10,.0f} tokens/s  waiting for data {row['wait_share']}", flush=True)
    first, second = (statistics.median(rates[side]) for side in sides)
    print(f"{' over '.join(sides)}: {first / second:.2f} x the tokens/s (median of {settings.rounds} rounds)")
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(EndToEndSettings)))
