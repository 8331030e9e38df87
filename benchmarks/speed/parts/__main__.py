"""Run one part: ``python -m dnar2mae.benchmarks.speed.parts NAME --out FOLDER``."""

import argparse
import importlib
import multiprocessing
import sys
import warnings
from pathlib import Path

from dnar2mae.benchmarks.speed.gpu import RUN_PRESETS
from dnar2mae.benchmarks.speed.parts.context import Context


def main() -> int:
    """Run the part; 1 if something in it failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--commit", default="unknown")
    parser.add_argument("--genome", type=Path)
    parser.add_argument("--presets", nargs="+", default=RUN_PRESETS)
    parser.add_argument("--dry", action="store_true")
    options = vars(parser.parse_args())
    part = importlib.import_module(f"dnar2mae.benchmarks.speed.parts.{options.pop('part')}")
    context = Context(**options)
    warnings.filterwarnings("ignore")  # of other projects' code, between the rows
    # Workers come from a process that has torch imported already: they start in a moment instead of seconds.
    multiprocessing.set_forkserver_preload(["dnar2mae.training.trainer"])
    part.run(context)
    return 1 if context.failures else 0


if __name__ == "__main__":
    sys.exit(main())
