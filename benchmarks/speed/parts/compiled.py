"""The part ``end_to_end`` with both sides compiled, by itself: compiling takes most of a minute for each size."""

from dnar2mae.benchmarks.speed.parts.context import Context
from dnar2mae.benchmarks.speed.parts.end_to_end import measure_each, plan


def run(context: Context) -> None:
    """Write a row for each size, length and side to ``end_to_end.csv``."""
    measure_each(context, plan(context.dry, compiled=True))
