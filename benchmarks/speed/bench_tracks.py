"""Tracks: what it changes to mask several bases of a window at once, against one base at a time.

    python -m dnar2mae.benchmarks.speed.bench_tracks runs/ecoli --genome ecoli.fna.gz

Every 8th base in the middle of windows that are evenly spaced over the first sequence, on both strands. Prints, and
appends rows to ``benchmarks/results/tracks_pattern.csv``. One thread.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
import tyro
from tyro.conf import Positional

from dnar2mae.benchmarks.speed import rows
from dnar2mae.genome.alphabet import SOFT_MASK
from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model
from dnar2mae.tracks.options import What
from dnar2mae.tracks.predictions import Asked, base_log_probabilities
from dnar2mae.tracks.quantities import quantity

RESULTS = Path(__file__).parents[1] / "results"
_SPACING = 7


@dataclass(frozen=True, kw_only=True)
class PatternSettings:
    """Measure the effect of the pattern."""

    model: Positional[Path]
    """Run of single bases."""
    genome: Path
    """Its genome."""
    windows: int = 40
    """Windows, evenly spaced."""
    periods: tuple[int, ...] = (20, 8, 7, 4, 3, 2)
    """Every n-th base is masked at once."""


def main(settings: PatternSettings) -> int:
    """Measure, print, record."""
    torch.set_num_threads(1)
    model, genome = Model.from_pretrained(settings.model, device="cpu"), Genome.open(settings.genome)
    window_bp = model.window_bp
    wanted = np.zeros(window_bp, bool)
    wanted[window_bp // 8 : window_bp - window_bp // 8 : _SPACING] = True
    starts = np.linspace(0, int(genome.lengths[0]) - window_bp, settings.windows).astype(int).tolist()
    asked = [
        Asked(genome.codes(genome.names[0], start, start + window_bp) & np.uint8(SOFT_MASK - 1), wanted, start)
        for start in starts
    ]
    codes = np.concatenate([window.codes[wanted] for window in asked])
    stamp, values = rows.stamp(), {}
    for period in (window_bp, *settings.periods):
        begun = time.process_time()
        answers = base_log_probabilities(model, asked, period, both_strands=True)
        print(f"1 of {period}: {time.process_time() - begun:.1f} s", file=sys.stderr, flush=True)
        log_p = np.concatenate([answer[wanted] for answer in answers])
        values[period] = {what: quantity(what, log_p, codes) for what in get_args(What)}
    single = values.pop(window_bp)
    for what, one in single.items():
        for period, several in values.items():
            known = np.isfinite(one)
            difference = (several[what] - one)[known].astype(np.float64)
            row = {
                "track": what,
                "period": period,
                "bases": int(known.sum()),
                "mean": round(float(one[known].mean()), 4),
                "sd": round(float(one[known].std()), 4),
                "correlation": round(float(np.corrcoef(several[what][known], one[known])[0, 1]), 4),
                "difference": round(float(difference.mean()), 4),
                "difference_sd": round(float(difference.std()), 4),
            }
            rows.append(RESULTS / "tracks_pattern.csv", row | {n: stamp[n] for n in ("commit", "device", "date")})
            print(*row.values(), sep="\t", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(PatternSettings)))
