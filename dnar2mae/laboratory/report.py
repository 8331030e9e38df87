"""The report of a comparison in words and tables."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dnar2mae.laboratory.columns import LOWER_IS_BETTER
from dnar2mae.laboratory.figure import draw
from dnar2mae.laboratory.grid import LawGrid
from dnar2mae.laboratory.plan import Law
from dnar2mae.laboratory.regret import MIN_SEEDS, by_seed, mean_differences, power, regrets, summary, t_interval
from dnar2mae.scoring.intervals import Interval
from dnar2mae.storage.safe_files import write_whole, written_whole

_GROUPS = {
    "Held-out loss by mask ratio of the evaluation": ("loss", "area"),
    "Accuracy of classes": ("labels", "few labels", "missing"),
    "Probes by task": ("probe",),
    "Variants": ("variants",),
}
"""Measures that share a table, by its heading."""


def write_report(table: pd.DataFrame, grid: LawGrid, about: Sequence[str], out: Path) -> None:
    """Write ``report.md``, with lines ``about`` the runs, ``regret.csv`` and ``compare.png``."""
    lines = [f"# {grid.title}", "", *(line for text in about for line in (text, ""))]
    if grid.added:
        added = ", ".join(f"`{law.name}`" for law in grid.added)
        lines += [f"Added as controls, the fixed ratio at a law's mean: {added}.", ""]
    found = regrets(table, grid.laws)
    if found.empty:
        lines += ["No seed was finished under every law: no regret, and no differences.", ""]
    elif len(grid.laws) > 1:
        lines += [*_regret(found), *_mean_differences(mean_differences(table, grid.laws)), *_power(found)]
    for setting in dict.fromkeys(table["setting"]):
        own = table[table["setting"] == setting]
        lines += [f"## {setting}", ""] if setting else []
        for heading, measures in _GROUPS.items():
            if not (part := own[own["measure"].isin(measures)]).empty:
                lines += _levels(heading, part, grid.laws) + _differences(part, found, grid.laws)
    lines += [*_effort(table, grid.laws), "", "![Plots](compare.png)", ""]
    with written_whole(out / "regret.csv") as partial:
        found.to_csv(partial, index=False, float_format="%.6g")
    write_whole(out / "report.md", "\n".join(lines))
    draw(table, found, grid, out / "compare.png")


def _regret(found: pd.DataFrame) -> list[str]:
    table = summary(found)
    measures = [name for name in table.columns if name not in ("mean", "worst", "where")]
    rows = [
        [
            f"`{law}`" if law != "best fixed" else "best fixed of each column",
            f"{line['mean']:.2f}",
            f"{line['worst']:.2f}",
        ]
        + [str(line["where"]), *(f"{line[name]:.2f}" for name in measures)]
        for law, line in table.iterrows()
    ]
    return [
        "## Regret",
        "",
        "Per cent by which a law is behind the best one of a column (a loss at a mask ratio, the area, an accuracy), "
        "from means over seeds: the mean over all columns of all settings, the worst and where it is, the mean by "
        "measure. `best fixed of each column` is what one would have by knowing the best fixed ratio for each.",
        "",
        *_table(["law", "mean", "worst", "where", *measures], rows),
        "",
    ]


def _mean_differences(found: pd.DataFrame) -> list[str]:
    if found.empty:
        return []
    against = found["against"].iloc[0]
    differences = [
        f"`{law}` {_interval(line)}" for law, line in found.iterrows() if law != against and not np.isnan(line["low"])
    ]
    if not differences:
        return []
    return [
        f"Mean regret less that of `{against}`, the fixed ratio where it is lowest, in per cent, paired by seed (95 %, "
        f"Student's t): {', '.join(differences)}.",
        "",
    ]


def _interval(line: pd.Series) -> str:
    text = f"{line['difference']:+.2f} [{line['low']:+.2f}, {line['high']:+.2f}]"
    return f"**{text}**" if line["low"] > 0 or line["high"] < 0 else text


def _power(found: pd.DataFrame) -> list[str]:
    known = power(found)
    if known.empty:
        return [f"Fewer than {MIN_SEEDS} seeds: no intervals, and no difference is to be relied on.", ""]
    settings = dict.fromkeys(known["setting"])
    lines = []
    for setting in settings:
        own = known[known["setting"] == setting]
        parts = ", ".join(f"{row.detects:.2g} {row.unit} ({row.measure})" for row in own.itertuples())
        lines.append(f"{f'{setting}: this' if setting else 'This'} comparison detects {parts}.")
    return [
        "Power: the paired difference that would be noticed four times in five, from the standard deviation over seeds "
        "of the differences from the best fixed ratio.",
        "",
        *(f"- {line}" for line in lines),
        "",
    ]


def _name(measure: str, at: str) -> str:
    return "area" if measure == "area" else at if measure in ("loss", "probe", "variants") else f"{measure}, {at}"


def _columns(part: pd.DataFrame) -> list[tuple[str, str]]:
    return list(dict.fromkeys(zip(part["measure"], part["at"], strict=True)))


def _levels(heading: str, part: pd.DataFrame, laws: Sequence[Law]) -> list[str]:
    rows, columns = [], _columns(part)
    for law in laws:
        own = part[part["law"] == law.name]
        if own.empty:
            continue
        at = {key: values["value"].to_numpy() for key, values in own.groupby(["measure", "at"])}
        shown = [_level(at[column]) if column in at else "" for column in columns]
        rows.append([f"`{law.name}`", f"{own['rate'].iloc[0]:g}", str(own["seed"].nunique()), *shown])
    unit = "" if part["unit"].iloc[0] in ("accuracy", "score") else f", {part['unit'].iloc[0]}"
    note = "Mean over seeds ± their standard deviation. Evaluation masks are the same for all runs."
    heads = ["law", "rate", "seeds", *(_name(*column) for column in columns)]
    return [f"### {heading}{unit}", "", note, "", *_table(heads, rows), ""]


def _differences(part: pd.DataFrame, found: pd.DataFrame, laws: Sequence[Law]) -> list[str]:
    """Show paired differences from the best fixed ratio of each column, and from each law's own control."""
    columns, rows = _columns(part), []
    wide = {key: by_seed(values) for key, values in part.groupby(["measure", "at"], sort=False)}
    best = found[found["setting"] == part["setting"].iloc[0]].drop_duplicates(["measure", "at"])
    of_column = best.set_index(["measure", "at"]).get("best_fixed", pd.Series(dtype=object)).dropna().to_dict()
    for law in laws:
        against = {f"`{law.control.name}`": dict.fromkeys(columns, law.control.name)} if law.control is not law else {}
        for name, others in (against | {"best fixed": of_column}).items():
            shown = [_difference(wide[c], law.name, others.get(c), c[0]) for c in columns]
            if any(shown):
                rows.append([f"`{law.name}`", name, *shown])
    if not rows:
        return []
    better = "Negative" if part["measure"].iloc[0] in LOWER_IS_BETTER else "Positive"
    none = "" if part["seed"].nunique() >= MIN_SEEDS else f" (none below {MIN_SEEDS} seeds)"
    return [
        f"{better}: the law is better than what it is compared with, on the same windows from the same initial "
        f"weights. In brackets: 95 % interval by Student's t over paired seeds{none}; bold where it leaves 0. The "
        "best fixed ratio of a column was chosen on the same runs, which favours it. Of many differences some leave "
        "0 by chance.",
        "",
        *_table(["law", "against", *(_name(*column) for column in columns)], rows),
        "",
    ]


def _difference(wide: pd.DataFrame, law: str, other: str | None, measure: str) -> str:
    if other is None or other == law or law not in wide or other not in wide or wide.empty:
        return ""
    return _shown(t_interval((wide[law] - wide[other]).to_numpy()))


def _shown(interval: Interval) -> str:
    if np.isnan(interval.low):
        return f"{interval.value:+.4f}"
    text = f"{interval.value:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"
    return f"**{text}**" if interval.low > 0 or interval.high < 0 else text


def _effort(table: pd.DataFrame, laws: Sequence[Law]) -> list[str]:
    rows = []
    for setting in dict.fromkeys(table["setting"]):
        for law in laws:
            chosen = (table["law"] == law.name) & (table["setting"] == setting)
            cells = table[chosen].drop_duplicates("seed").dropna(subset=["tokens"])
            if cells.empty:
                continue
            shown = pd.to_numeric(cells["encoder_tokens"], errors="coerce").mean()
            rows.append(
                ([setting] if setting else [])
                + [f"`{law.name}`", f"{cells['steps'].iloc[0]:,}", f"{cells['tokens'].mean():,.0f}"]
                + ["not known" if np.isnan(shown) else f"{shown:,.0f}"]
                + [f"{cells['mean_ratio'].iloc[0]:.3f}", f"{cells['drawn_ratio'].mean():.3f}"]
                + [f"{cells['seconds'].mean():.0f}"]
            )
    heads = ["law", "steps", "tokens", "encoder tokens", "mean ratio", "ratio drawn", "seconds"]
    heads = ["setting", *heads] if len(rows[0]) > len(heads) else heads
    return ["## Cost of each run", "", "Means over seeds.", "", *_table(heads, rows)]


def _level(seeds: np.ndarray) -> str:
    return f"{seeds.mean():.4f}" + (f" ± {seeds.std(ddof=1):.4f}" if len(seeds) > 1 else "")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)]
