"""report.md and compare.png: the results of a comparison and their limits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dnar2mae.laboratory.plan import Law
from dnar2mae.laboratory.results import MEAN, paired, t_interval, values
from dnar2mae.plots.figure import new_figure, save_figure
from dnar2mae.scoring.intervals import Interval
from dnar2mae.storage.safe_files import write_whole

_LOWER_IS_BETTER = {"loss": True, "probe": False, "variants": False}


def write_report(
    table: pd.DataFrame, laws: Sequence[Law], added: Sequence[Law], about: Sequence[str], out: Path
) -> None:
    """Write ``report.md`` and ``compare.png``.

    Parameters
    ----------
    table
        The tidy table.
    laws
        All laws.
    added
        Controls that were added.
    about
        Lines that describe the runs.
    out
        Folder.
    """
    lines = ["# Mask laws compared", "", *about, ""]
    if added:
        lines += [f"Added as controls, the fixed ratio at a law's mean: {', '.join(f'`{law.name}`' for law in added)}."]
        lines += [""]
    for measure in table["measure"].unique():
        lines += [*_levels(table, laws, measure), "", *_differences(table, laws, measure), ""]
    lines += [*_effort(table, laws), "", "![Curves](compare.png)", ""]
    write_whole(out / "report.md", "\n".join(lines))
    draw(table, laws, out / "compare.png")


def pairs(laws: Sequence[Law]) -> list[tuple[Law, Law]]:
    """Pair each law with its own control, and with that of the first law whose ratio varies."""
    reference = reference_of(laws)
    controls = [(law, law.control) for law in laws if law.control.name != law.name]
    return controls + [(law, reference) for law in laws if reference.name not in (law.name, law.control.name)]


def reference_of(laws: Sequence[Law]) -> Law:
    """Return the fixed ratio at the mean of the first law that varies; the first law where none does."""
    return next((law.control for law in laws if law.control is not law), laws[0])


def _levels(table: pd.DataFrame, laws: Sequence[Law], measure: str) -> list[str]:
    unit = table[table["measure"] == measure]["unit"].iloc[0]
    by_law = [(law, values(table, law, measure)) for law in laws]
    columns = list(by_law[0][1].columns)
    what = {"loss": f"Held-out loss, {unit}, by mask ratio of the evaluation", "probe": "Probes by task"}
    rows = [
        [f"`{law.name}`", str(len(wide)), *(_level(wide[name].to_numpy()) for name in columns)] for law, wide in by_law
    ]
    note = "Mean over seeds ± their standard deviation. Evaluation masks are the same for all runs."
    return [f"## {what.get(measure, f'{measure}, {unit}')}", "", note, "", *_table(["law", "seeds", *columns], rows)]


def _differences(table: pd.DataFrame, laws: Sequence[Law], measure: str) -> list[str]:
    rows, columns = [], []
    for law, control in pairs(laws):
        first, second = values(table, law, measure), values(table, control, measure)
        seeds = first.index.intersection(second.index)
        differences = paired(first, second)
        columns = list(differences)
        last = (first.loc[seeds] - second.loc[seeds])[columns[-1]].to_numpy()
        better = (last < 0) if _LOWER_IS_BETTER[measure] else (last > 0)
        student = t_interval(last)
        rows.append(
            [f"`{law.name}`", f"`{control.name}`", *(_difference(differences[name]) for name in columns)]
            + [f"{student.low:+.4f} to {student.high:+.4f}", f"{better.sum()} of {len(seeds)}"]
        )
    better_is = "Negative: the law is better" if _LOWER_IS_BETTER[measure] else "Positive: the law is better"
    return [
        f"### Paired differences ({measure})",
        "",
        f"{better_is} than what it is compared with, on the same windows from the same initial weights. In brackets: "
        "95 % bootstrap interval over seeds"
        + (", of the mean over seeds and tasks" if measure == "probe" else "")
        + ". "
        "With few seeds the bootstrap is too narrow (of three values it cannot exceed their range); the "
        "interval by Student's t beside it is of the last difference. Many differences are shown: some intervals leave "
        "0 by chance.",
        "",
        *_table(["law", "against", *columns, f"{columns[-1]}, Student's t", "seeds better"], rows),
    ]


def _effort(table: pd.DataFrame, laws: Sequence[Law]) -> list[str]:
    rows = []
    for law in laws:
        cells = table[table["law"] == law.name].drop_duplicates("seed").dropna(subset=["tokens"])
        shown = pd.to_numeric(cells["encoder_tokens"], errors="coerce").mean()
        rows.append(
            [f"`{law.name}`", f"{cells['steps'].iloc[0]:,}", f"{cells['tokens'].mean():,.0f}"]
            + ["not known" if np.isnan(shown) else f"{shown:,.0f}"]
            + [f"{cells['mean_ratio'].iloc[0]:.3f}", f"{cells['drawn_ratio'].mean():.3f}"]
            + [f"{cells['seconds'].mean():.0f}"]
        )
    heads = ["law", "steps", "tokens", "encoder tokens", "mean ratio", "ratio drawn", "seconds"]
    return ["## Cost of each run", "", "Means over seeds.", "", *_table(heads, rows)]


def draw(table: pd.DataFrame, laws: Sequence[Law], path: Path) -> None:
    """Plot loss by mask ratio, and the paired difference to the reference with bootstrap intervals."""
    figure = new_figure(10.0, 4.2)
    left, right = figure.subplots(1, 2)
    reference = reference_of(laws)
    base = values(table, reference, "loss")
    ratios = [float(name) for name in base.columns if name != MEAN]
    names = [name for name in base.columns if name != MEAN]
    width = 0.006  # of mask ratio between two laws, so that their error bars do not hide one another
    for number, law in enumerate(laws):
        wide = values(table, law, "loss")
        look: dict[str, Any] = {"color": f"C{number % 10}", "marker": "o", "ms": 3, "lw": 1}
        left.plot(ratios, wide[names].mean(), label=law.name, **look)
        if law.name == reference.name:
            continue
        differences = [paired(wide, base)[name] for name in names]
        middle = np.array([d.value for d in differences])
        spread = np.abs(np.array([[d.low, d.high] for d in differences]).T - middle)
        shifted = np.array(ratios) + width * (number - len(laws) / 2)
        right.errorbar(shifted, middle, None if np.isnan(spread).any() else spread, capsize=2, **look)
    right.axhline(0, color="0.5", lw=0.8)
    unit = table["unit"].iloc[0]
    left.set(xlabel="mask ratio of the evaluation", ylabel=f"held-out loss, {unit}", title="Loss by mask ratio")
    right.set(xlabel="mask ratio of the evaluation", ylabel=f"difference, {unit}")
    right.set_title(
        f"Paired difference to {reference.name}\n(95 % bootstrap over seeds; below 0 is better)", fontsize=9
    )
    figure.legend(loc="outside lower center", ncols=4, fontsize=7, frameon=False)
    save_figure(figure, path)


def _level(seeds: np.ndarray) -> str:
    return f"{seeds.mean():.4f}" + (f" ± {seeds.std(ddof=1):.4f}" if len(seeds) > 1 else "")


def _difference(difference: Interval) -> str:
    bounds = "1 seed" if np.isnan(difference.low) else f"{difference.low:+.4f}, {difference.high:+.4f}"
    return f"{difference.value:+.4f} [{bounds}]"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)]
