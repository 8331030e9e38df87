"""Training throughput and model-FLOP utilisation against Hugging Face's ModernBERT with its Trainer."""

import tempfile
from dataclasses import replace
from pathlib import Path

from dnar2mae.benchmarks.speed.end_to_end import FILE, OURS, THEIRS, EndToEndSettings, measure, random_genome
from dnar2mae.benchmarks.speed.parts.context import Context

_TOKENS = {"tiny": 65_536, "small": 65_536, "base": 32_768}  # of a step


def run(context: Context) -> None:
    """Write a row for each size, length and side to ``end_to_end.csv``."""
    measure_each(context, plan(context.dry))


def measure_each(context: Context, runs: list[tuple[EndToEndSettings, str]]) -> None:
    """Write a row for each setting and side."""
    with tempfile.TemporaryDirectory() as folder:
        genome = random_genome(Path(folder))
        for settings, side in runs:
            with context.attempt(f"{side} {settings}"):
                context.append(FILE.stem, measure(settings, side, genome, Path(folder)))


def plan(dry: bool, *, compiled: bool = False) -> list[tuple[EndToEndSettings, str]]:
    """List the runs, the most informative first."""
    shapes = [(preset, context) for context in (512, 8192) for preset in ("base", "small", "tiny")]
    runs = [EndToEndSettings(preset=p, context=c, batch=_TOKENS[p] // c, steps=15, workers=4) for p, c in shapes]
    if dry:
        runs = [EndToEndSettings(preset="tiny", context=c, batch=2, steps=1, workers=1) for c in (32, 64)]
    return [(replace(settings, compile=compiled), side) for settings in runs for side in (OURS, THEIRS)]
