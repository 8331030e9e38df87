"""The results of ``dnar2mae theory``, in words and tables."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dnar2mae.mask_laws import MaskLaw
from dnar2mae.theory.curves import Line
from dnar2mae.theory.equivalents import risk_equivalent
from dnar2mae.theory.options import Masking, Regime
from dnar2mae.theory.phase import PhaseMap
from dnar2mae.theory.rows import effective_ratio
from dnar2mae.theory.task import Task

_COLUMNS = {
    "rows": Masking(),
    "masked": Masking(loss="masked"),
    "masked-mean": Masking(loss="masked-mean"),
    "rows-inv": Masking(scale="inv"),
}


def describe_lines(lines: Sequence[Line]) -> list[str]:
    """Return the minimum of every line, and how far theory and simulation are apart."""
    text = [f"d/n = {line.aspect:<5g} lowest {line.theory.min():.4f} at {line.laws[line.best].name}" for line in lines]
    gaps = 100 * np.abs(np.concatenate([line.gaps for line in lines]))
    if len(gaps):
        extremes = f"median {np.median(gaps):.1f} %, largest {gaps.max():.1f} %"
        text.append(f"theory against simulation at {len(gaps)} points: {extremes}")
    return text


def describe_phase(phase: PhaseMap) -> list[str]:
    """Return the range of the best fixed ratio, and how uniform laws compare."""
    best = phase.best_ratio
    return [
        f"best fixed ratio: {best.min():.3f} to {best.max():.3f} (searched up to 0.98)",
        f"no masking is best in {100 * (best < 0.001).mean():.1f} % of {best.size} settings",
        f"uniform against fixed: {phase.summary()}",
    ]


def describe_rescaling(maps: dict[Regime, PhaseMap]) -> list[str]:
    """Return how often rescaled inputs at a fixed ratio beat a random ratio that wins, where both are known."""
    if not {"uncentred", "uncentred-inv"} <= maps.keys():
        return []
    beaten = maps["uncentred-inv"].fixed_risk < maps["uncentred"].random_risk
    wins = maps["uncentred"].wins
    share = 100 * beaten[wins].mean() if wins.any() else math.nan
    return [f"uncentred: a rescaled fixed ratio is better still in {share:.1f} % of the settings won"]


def describe_effective_ratios(task: Task, laws: Sequence[MaskLaw], aspects: Sequence[float]) -> list[str]:
    """Return a table of effective ratios: a line a law, a column a loss, then one an aspect ratio (one mask)."""
    heads = ["mean", *_COLUMNS, *(f"d/n={aspect:g}" for aspect in aspects)]
    lines = [f"{'law':24}" + "".join(f"{head:>12}" for head in heads)]
    for law in laws:
        values = [law.mean, *(_effective_ratio(law, masking) for masking in _COLUMNS.values())]
        if law.largest < 1:
            values += risk_equivalent(task, [law], aspects).effective_ratio[0].tolist()
        cells = [f"{value:12.4f}" if math.isfinite(value) else f"{'-':>12}" for value in values]
        lines.append(f"{law.name:24}" + "".join(cells))
    return lines


def write_table(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write rows of equal columns as CSV, numbers to six digits, and return the path."""
    import pandas as pd

    pd.DataFrame(rows).to_csv(path, index=False, float_format="%.6g", lineterminator="\r\n")
    return path


def _effective_ratio(law: MaskLaw, masking: Masking) -> float:
    """Return the effective ratio; NaN where a loss or the rescaling does not allow the law."""
    never_masks = masking.loss != "rows" and law.nodes.min() == 0
    masks_all = masking.scale == "inv" and law.largest >= 1
    return math.nan if never_masks or masks_all else effective_ratio(law, masking)
