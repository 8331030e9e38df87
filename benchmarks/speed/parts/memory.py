"""Peak memory and speed of the ``mae`` objective against ``mlm`` at mean ratio 0.5."""

import tempfile
from pathlib import Path

from dnar2mae.benchmarks.speed.end_to_end import FILE, EndToEndSettings, measure, random_genome
from dnar2mae.benchmarks.speed.parts.context import Context


def run(context: Context) -> None:
    """Write a row a length and objective to ``end_to_end.csv``."""
    shapes = [("tiny", 32, 2)] if context.dry else [("base", 8192, 4), ("base", 512, 64), ("small", 1024, 64)]
    with tempfile.TemporaryDirectory() as folder:
        genome = random_genome(Path(folder))
        for preset, tokens, batch in shapes:
            steps = 1 if context.dry else 10
            settings = EndToEndSettings(preset=preset, context=tokens, batch=batch, steps=steps, objective="mae")
            for side in ("mae", "mlm"):
                with context.attempt(f"{side} {settings}"):
                    context.append(FILE.stem, measure(settings, side, genome, Path(folder)))
