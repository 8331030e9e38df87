"""One page of plots: loss by mask ratio with bands, regret of each law in each column, laws by setting."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dnar2mae.laboratory.grid import LawGrid
from dnar2mae.laboratory.regret import COLUMN, by_seed
from dnar2mae.plots.figure import new_figure, save_figure

_COLOURS = 10  # of matplotlib's cycle; further laws have dashed lines
_MOST_SHOWN = (
    0.97  # quantile of the regrets at which the colours of the heat map end, so that one law does not take all
)


def draw(table: pd.DataFrame, found: pd.DataFrame, grid: LawGrid, path: Path) -> None:
    """Draw the page.

    Parameters
    ----------
    table
        Of ``compare.csv``.
    found
        Of :func:`dnar2mae.laboratory.regret.regrets`.
    grid, path
        What was compared, and the file to write.
    """
    settings = list(dict.fromkeys(table["setting"]))
    heat_height = 0.0 if len(grid.laws) < 2 or found.empty else 2.2 + 0.34 * len(grid.laws)
    figure = new_figure(max(4.2 * len(settings), 8.4), 3.6 + heat_height)
    parts = figure.subfigures(2, 1, height_ratios=(3.6, heat_height)) if heat_height else [figure]
    axes = parts[0].subplots(1, len(settings), squeeze=False)[0]
    for axis, setting in zip(axes, settings, strict=True):
        _curves(axis, table[(table["setting"] == setting) & (table["measure"] == "loss")], grid)
        axis.set_title(setting, fontsize=9)
    handles, names = axes[0].get_legend_handles_labels()
    parts[0].legend(handles, names, loc="outside lower center", ncols=6, fontsize=7, frameon=False)
    if heat_height:
        heat, by_setting = parts[1].subplots(1, 2, width_ratios=(4, 1))
        columns = found[COLUMN].apply(lambda row: " ".join(str(v) for v in row if v != ""), axis=1)
        _heat(heat, found.assign(column=columns), "column", grid, "regret, per cent behind the best law of the column")
        _heat(by_setting, found, "setting", grid, "mean over a setting")
        by_setting.set_yticks([])
    save_figure(figure, path)


def _curves(axis: Any, losses: pd.DataFrame, grid: LawGrid) -> None:
    """Draw the loss of each law by mask ratio, less the lowest of all laws; bands of a standard error over seeds."""
    by_ratio = {float(str(at)): by_seed(part) for at, part in losses.groupby("at", sort=False)}
    ratios = np.array(sorted(ratio for ratio, wide in by_ratio.items() if not wide.empty))
    lowest = np.array([by_ratio[ratio].mean().min() for ratio in ratios])
    single = len(grid.laws) == 1  # less itself it would be a line at 0
    for number, law in enumerate(grid.laws):
        if not all(law.name in by_ratio[ratio] for ratio in ratios):
            continue
        seeds = [by_ratio[ratio][law.name].to_numpy() for ratio in ratios]
        middle = np.array([values.mean() for values in seeds]) - (0 if single else lowest)
        # of what is left when the level of each seed, the same for all laws, is taken off
        paired = [by_ratio[r][law.name] - by_ratio[r].mean(axis=1) for r in ratios]
        error = np.array([p.std(ddof=1) / len(p) ** 0.5 if len(p) > 1 else 0.0 for p in paired])
        style = "-" if number < _COLOURS else "--"
        axis.plot(ratios, middle, style, color=f"C{number % _COLOURS}", marker="o", ms=3, lw=1, label=law.name)
        axis.fill_between(ratios, middle - error, middle + error, color=f"C{number % _COLOURS}", alpha=0.2, lw=0)
    unit = losses["unit"].iloc[0] if len(losses) else ""
    axis.set_xlabel("mask ratio of the evaluation")
    axis.set_ylabel(f"held-out loss, {unit}" if single else f"above the lowest law, {unit}", fontsize=8)


def _heat(axis: Any, found: pd.DataFrame, by: str, grid: LawGrid, title: str) -> None:
    wide = found.pivot_table(index="law", columns=by, values="regret", sort=False)
    wide = wide.reindex([law.name for law in grid.laws if law.name in wide.index])
    limit = max(float(np.nanquantile(wide.to_numpy(), _MOST_SHOWN)), 1e-9)
    image = axis.imshow(wide.to_numpy(), aspect="auto", cmap="magma_r", vmin=0, vmax=limit)
    axis.set_xticks(range(len(wide.columns)), wide.columns, rotation=90, fontsize=6)
    axis.set_yticks(range(len(wide.index)), wide.index, fontsize=7)
    if by == "setting":
        for (row, column), value in np.ndenumerate(wide.to_numpy()):
            colour = "white" if value > limit / 2 else "black"
            axis.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=6, color=colour)
    axis.set_title(title, fontsize=8)
    axis.figure.colorbar(image, ax=axis, fraction=0.03, pad=0.01)
