"""Peak memory and speed of the ``mae`` objective against ``mlm`` at mean ratio 0.5."""

from dnar2mae.benchmarks.speed.end_to_end import EndToEndSettings
from dnar2mae.benchmarks.speed.parts.context import Context
from dnar2mae.benchmarks.speed.parts.end_to_end import measure_each


def run(context: Context) -> None:
    """Write a row a length and objective to ``end_to_end.csv``."""
    shapes = [("tiny", 32, 2)] if context.dry else [("base", 8192, 4), ("base", 512, 64), ("small", 1024, 64)]
    steps = 1 if context.dry else 10
    runs = [EndToEndSettings(preset=p, context=c, batch=b, steps=steps, objective="mae") for p, c, b in shapes]
    measure_each(context, [(settings, side) for settings in runs for side in ("mae", "mlm")])
