"""Append finished runs to the rows: ``python -m dnar2mae.benchmarks.figures.runs RUN ... --data NAME``.

The rows of ``benchmarks/results/modality_runs.csv`` say what a run was given and what its summary has.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dnar2mae.benchmarks.figures.figure import RESULTS
from dnar2mae.benchmarks.speed.rows import append

_NO_SETTING = ("--modality", "--out", "--seed", "--validate-every")
"""Options, each of one value, that a row has in a column of its own or that do not change what is learned."""


def settings_of(command: Sequence[str]) -> str:
    """Return the options of a ``pretrain`` command that say what it learns, without its files."""
    kept, arguments = [], iter(command[2:])
    named = False
    for argument in arguments:
        if argument in _NO_SETTING:
            next(arguments)
        elif argument.startswith("--"):
            named = True
            kept += [] if argument == "--overwrite" else [argument]
        elif named:  # the files stand before the first option
            kept.append(repr(argument) if " " in argument else argument)
    return " ".join(kept)


def row_of(run: Path, data: str, device: str) -> dict[str, Any]:
    """Return the row of a finished run."""
    summary, environment = (json.loads((run / name).read_text()) for name in ("summary.json", "environment.json"))
    command = environment["command"]
    best = min(summary["yardstick"], key=summary["yardstick"].get)
    return {
        "modality": command[command.index("--modality") + 1] if "--modality" in command else "dna",
        "data": data,
        "settings": settings_of(command),
        "seed": command[command.index("--seed") + 1] if "--seed" in command else 0,
        "unit": summary["unit"],
        **{name: round(summary[name], 4) for name in ("held_out", "standard_error", "untrained")},
        "best_yardstick": best.removeprefix("token "),
        "yardstick": round(summary["yardstick"][best], 4),
        "commit": environment["commit"],
        "device": device,
        "date": environment["started"][:10],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Append a row for each run, and print it."""
    parser = argparse.ArgumentParser(prog="dnar2mae.benchmarks.figures.runs", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--data", required=True, help="what the runs were given, as the table names it")
    parser.add_argument("--device", required=True, help="the machine, as in the other rows")
    options = parser.parse_args(arguments)
    for run in options.runs:
        row = row_of(run, options.data, options.device)
        append(RESULTS / "modality_runs.csv", row)
        print(row)


if __name__ == "__main__":
    main()
