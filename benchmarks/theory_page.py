"""The figures of the page on theory, from its commands: ``python -m dnar2mae.benchmarks.theory_page``.

Runs each command and appends what it prints, line by line, and the lowest simulated values of what it writes, to
``benchmarks/results/theory.csv``. Two minutes; the same numbers every time.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from math import isnan
from pathlib import Path

import pandas as pd

from dnar2mae.benchmarks.speed.rows import append, stamp

ROWS = Path(__file__).parent / "results" / "theory.csv"
_LEVELS = "--covariance levels:500x0.02,20x0.3,1x0.68 --alignment 1"
_PLAIN = "rows masked uncentred rows-inv masked-inv uncentred-inv"
"""Regimes of the predictor that does not see what is masked."""
OTHERS = ("isotropic 0", "ar1:0.9 0", "power:1 1", "spiked:0.05,50 1")
"""Further covariances, each with the alignment of the target."""
COMMANDS = {
    "theory_peff": "peff --laws uniform:0.05,0.5 uniform:0,1 uniform:0.1,0.9",
    "theory_compare": f"compare {_LEVELS} --resolution 100 --regimes {_PLAIN} --out runs/compare",
    "theory_chosen": f"compare {_LEVELS} --num-features 100 --resolution 30 --regimes share-ridge bits-ridge "
    "--out runs/chosen",
    "theory_chosen_test_ratios": f"compare {_LEVELS} --num-features 100 --resolution 30 --regimes share-ridge "
    "bits-ridge --test-ratios 0,0.25,0.5,0.75 --out runs/chosen",
    **{
        f"theory_others/{other}": "compare --covariance {} --alignment {} --num-features 100 --resolution 40 "
        f"--regimes {_PLAIN} --out runs/other".format(*other.split())
        for other in OTHERS
    },
    "theory_visible": "compare --covariance ar1:0.9 --num-features 100 --resolution 40 --regimes share share-ridge "
    "bits bits-ridge uncentred uncentred-inv --out runs/clean",
    "theory_test_ratios": "compare --covariance ar1:0.9 --num-features 100 --resolution 40 "
    "--test-ratios 0,0.25,0.5,0.75 --out runs/visible",
    "theory_regret": "compare --covariance ar1:0.9 --num-features 100 --resolution 10 --snr-range 0.1 10 "
    "--law uniform:0.1,0.9 --regimes bits-ridge share-ridge uncentred --test-ratios 0,0.25,0.5,0.75 --regret standard "
    "--out runs/regret",
    "theory_few_masks": "few-masks --num-masks 20",
    "theory_check": "check --out runs/check",
    "theory_win": f"risk {_LEVELS} --loss masked --scale inv --aspects 1.07 --noise 2.5 --width 0.8 "
    "--num-features 400 --num-points 12 --repetitions 40 --out runs/win",
    "theory_two_masks": f"phase {_LEVELS} --loss masked --scale inv --num-masks 2 --num-features 100 --resolution 30 "
    "--out runs/phase",
    "theory_probe": "risk --form self-supervised --loss masked --num-masks inf --covariance spiked:0.05,60 "
    "--num-features 120 --aspects 0.25 1 3 --out runs/probe",
}
"""By figure; arguments of ``dnar2mae theory``."""


def lowest_simulated(risk: pd.DataFrame) -> Iterator[str]:
    """Return lines that tell, by d/n and kind of law, where the simulated risk, and a probe's, are lowest."""
    for column, error in (("simulation", "standard_error"), ("probe", "probe_standard_error")):
        known = risk.dropna(subset=[column])
        for (aspect, kind), part in known.groupby(["aspect", known["law"].str.split(":").str[0]], sort=False):
            lowest = part[column].idxmin()
            value, deviation, law = (part[name].to_dict()[lowest] for name in (column, error, "law"))
            interval = "" if isnan(deviation) else f" ± {deviation:.2g}"
            yield f"d/n = {aspect:<5g} {column} lowest over {kind} laws: {value:.4g}{interval} at {law}"


def main() -> int:
    """Run, print, record."""
    about = {name: value for name, value in stamp().items() if name != "torch"}
    for figure, arguments in COMMANDS.items():
        with tempfile.TemporaryDirectory() as folder:
            command = ["dnar2mae", "theory", *arguments.split()]
            done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
            printed = [line.rstrip() for line in done.stdout.splitlines() if not line.startswith("wrote ")]
            if (risk := Path(folder) / arguments.split()[-1] / "risk.csv").exists():
                printed += lowest_simulated(pd.read_csv(risk))
        for number, text in enumerate(printed):
            row = {"figure": figure, "line": number, "text": text, "command": " ".join(command)}
            append(ROWS, row | {name: about[name] for name in ("commit", "device", "date")})
        print(f"{' '.join(command)}", *printed, sep="\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
