"""Pretraining throughput against Hugging Face's ModernBERT with ``Trainer`` and its masking collator, in one run.

Identical architecture, windows, batch, mean mask ratio, precision and optimizer. Both include their data loading,
masking, forward, backward and optimizer step. Runs alternate and the median of the rounds is reported.

    python -m dnar2mae.benchmarks.speed.end_to_end --preset tiny --context 512 --batch 8

Prints tokens per second, their ratio, model-FLOP utilisation (on a known GPU), peak memory, and the share of the time
spent waiting for data; appends one row a side to ``benchmarks/results/end_to_end.csv``.
"""

import csv
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro

from dnar2mae.config import DataConfig, MaskConfig, PretrainConfig
from dnar2mae.modalities.dna.modality import DnaModality
from dnar2mae.models.modernbert import to_config
from dnar2mae.presets import PRESETS
from dnar2mae.run.directory import RunDirectory, environment
from dnar2mae.tokenizers import KmerTokenizer
from dnar2mae.tokenizers.kmer_json import write_tokenizer
from dnar2mae.training.device import choose_device
from dnar2mae.training.loader import batches
from dnar2mae.training.trainer import Trainer

RESULTS = Path(__file__).parents[1] / "results" / "end_to_end.csv"
Objective = Literal["mlm", "mae"]
PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0, "A100": 312.0}
"""Dense bf16 peak of the data sheets."""


@dataclass(frozen=True, kw_only=True)
class EndToEndSettings:
    """Compare with Hugging Face's Trainer."""

    preset: str = "tiny"
    """Sizes of the model."""
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
    objective: Literal["mlm", "mae"] = "mlm"
    """mae: time our mae objective at mean ratio 0.5 against our mlm one instead."""
    checkpoint: str | None = None
    """Folder of a local masked or causal Hugging Face model to time instead of the identical ModernBERT."""


def random_genome(folder: Path, length_bp: int = 2_000_000) -> Path:
    """Write a FASTA of random bases."""
    bases = np.frombuffer(b"ACGT", np.uint8)[np.random.default_rng(0).integers(0, 4, length_bp)]
    path = folder / "random.fa"
    path.write_bytes(b">random\n" + bases.tobytes() + b"\n")
    return path


def run_config(settings: EndToEndSettings, genome: Path, objective: Objective) -> PretrainConfig:
    """Our run: the preset with the benchmark's window and batch at a fixed mean ratio."""
    config = PRESETS[settings.preset]()
    ratio = 0.15 if settings.objective == "mlm" else 0.5
    return replace(
        config,
        data=DataConfig(genomes=(str(genome),), window_bp=settings.context),
        mask=MaskConfig(law="fixed", ratio=ratio),
        model=replace(config.model, objective=objective),
        batch_size=settings.batch,
        micro_batch=None,
        steps=settings.steps + 5,
        compile=settings.compile,
    )


def time_ours(config: PretrainConfig, folder: Path) -> dict[str, float]:
    """Seconds of the timed steps, and of waiting for data in them."""
    device, autocast = choose_device(config)
    modality = DnaModality(config)
    trainer = Trainer(config, modality, RunDirectory(folder / "run"), device, autocast)
    source = iter(batches(modality.train, config, 0, pin_memory=device.type == "cuda"))
    waited = start = 0.0
    for step in range(config.steps):
        if step == 5:
            _synchronise(device)
            waited, start = 0.0, time.perf_counter()
        before = time.perf_counter()
        batch = next(source)
        waited += time.perf_counter() - before
        trainer.training_step(batch)
    _synchronise(device)
    return {"seconds": time.perf_counter() - start, "waited": waited}


def time_theirs(config: PretrainConfig, folder: Path, checkpoint: str | None = None) -> dict[str, float]:
    """Do the same with ``transformers``: the stock model, collator and Trainer."""
    import transformers

    transformers.logging.set_verbosity_error()
    device, autocast = choose_device(config)
    modality = DnaModality(config)
    assert isinstance(modality.tokenizer, KmerTokenizer)
    write_tokenizer(modality.tokenizer, folder, modality.layout.tokens)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model, is_masked = _their_model(config, modality, checkpoint)

    class Windows(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return config.steps * config.batch_size

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            return {"input_ids": modality.train.batch(np.array([index])).tokens[0].long()}

    class Clock(transformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 5:
                _synchronise(device)
                self.start = time.perf_counter()

    clock = Clock()
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "theirs"),
        per_device_train_batch_size=config.batch_size,
        max_steps=config.steps,
        learning_rate=config.optimizer.lr,
        bf16=autocast is torch.bfloat16,
        use_cpu=device.type == "cpu",
        optim="adamw_torch_fused",
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        torch_compile=config.compile,
    )
    collator = transformers.DataCollatorForLanguageModeling(
        tokenizer, mlm=is_masked, mlm_probability=config.mask.ratio if is_masked else None
    )
    trainer = transformers.Trainer(
        model=model, args=arguments, data_collator=collator, train_dataset=Windows(), callbacks=[clock]
    )
    trainer.train()
    _synchronise(device)
    return {"seconds": time.perf_counter() - clock.start, "waited": float("nan")}


def _their_model(config: PretrainConfig, modality: DnaModality, checkpoint: str | None) -> tuple[Any, bool]:
    """Return the model, and whether it is a masked one (else causal)."""
    import transformers

    if checkpoint is None:
        sizes = to_config(config.model, KmerTokenizer(), modality.layout.tokens)
        sizes.pop("architectures")
        return transformers.ModernBertForMaskedLM(transformers.ModernBertConfig(**sizes)), True
    named = transformers.AutoConfig.from_pretrained(checkpoint).architectures or ["ForMaskedLM"]
    is_masked = "MaskedLM" in named[0]
    kind = transformers.AutoModelForMaskedLM if is_masked else transformers.AutoModelForCausalLM
    return kind.from_pretrained(checkpoint), is_masked


def model_flops_per_token(config: PretrainConfig) -> float:
    """Floating-point operations of forward and backward pass: 6 a weight, and 12 T D for each global layer."""
    model = config.model
    weights = model.depth * (4 * model.width**2 + 3 * model.width * model.mlp_width)
    tokens = config.data.window_bp
    seen = [tokens if i % model.global_every == 0 else min(model.local_tokens, tokens) for i in range(model.depth)]
    return 6 * weights + 12 * model.width * sum(seen)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main(settings: EndToEndSettings) -> int:
    """Alternate the sides, print and record."""
    warnings.filterwarnings("ignore")
    theirs = partial(time_theirs, checkpoint=settings.checkpoint)
    names: dict[str, tuple[Objective, Callable]] = {"dnar2mae": ("mlm", time_ours), "hugging face": ("mlm", theirs)}
    if settings.objective == "mae":
        names = {"mae": ("mae", time_ours), "mlm": ("mlm", time_ours)}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        genome = random_genome(Path(folder))
        for _ in range(settings.rounds):
            for name, (objective, timer) in names.items():
                config = run_config(settings, genome, objective)
                result = timer(config, Path(folder))
                seconds[name].append(result["seconds"])
                tokens = settings.steps * settings.batch * settings.context
                rate = tokens / result["seconds"]
                waits = result["waited"] / result["seconds"]
                rows.append([name, rate, waits])
                print(f"{name:14} {rate:10,.0f} tokens/s  waiting for data {waits:.1%}", flush=True)
        device, autocast = choose_device(config)
    report(settings, config, device, autocast, rows)
    first, second = (statistics.median(seconds[name]) for name in names)
    print(f"{' over '.join(names)}: {second / first:.2f} x the tokens/s (median of {settings.rounds} rounds)")
    return 0


def report(
    settings: EndToEndSettings, config: PretrainConfig, device: torch.device, autocast: Any, rows: list[list]
) -> None:
    """Append the rows to the CSV file; on a known GPU print the model-FLOP utilisation too."""
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"cpu x{torch.get_num_threads()}"
    peak = next((v for k, v in PEAK_TFLOPS.items() if k in name), None)
    memory = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else float("nan")
    stamp = environment()
    fields = ["side", "tokens_per_s", "wait_share", "mfu", "peak_mb", "preset", "context_tokens", "batch", "objective"]
    fields += ["dtype", "compile", "device", "torch", "commit", "date"]
    RESULTS.parent.mkdir(exist_ok=True)
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(fields)
        for side, rate, waits in rows:
            use = rate * model_flops_per_token(config) / (peak * 1e12) if peak else float("nan")
            writer.writerow(
                [side, f"{rate:.0f}", f"{waits:.4f}", f"{use:.3f}", f"{memory:.0f}", settings.preset, settings.context]
                + [settings.batch, settings.objective, str(autocast or torch.float32), settings.compile, name]
                + [torch.__version__, stamp["commit"], stamp["started"][:10]]
            )


if __name__ == "__main__":
    sys.exit(main(tyro.cli(EndToEndSettings)))
