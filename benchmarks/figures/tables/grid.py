"""The quick grid of mask laws: regret over all that was read off, and differences from the best fixed ratio."""

from statistics import mean

from dnar2mae.benchmarks.figures.figure import Figure, Row, clear, markdown, where
from dnar2mae.benchmarks.figures.tables import code

_MEASURES = ("loss", "area", "labels", "few labels", "missing")
_COLUMNS = (("area", "0 to 1"), ("labels", "all"), ("few labels", "10"), ("missing", "0.5"), ("missing", "0.75"))
_RANDOM = ("uniform:0.1,0.9", "uniform:0.3,0.9")
_COMMAND = "dnar2mae compare --grid quick --data-dir DATA --workers 2 --out OUT"
_BOTH = f"{_COMMAND}, by this commit and by a1349a2, whose rates were 0.5, 1 and 2 times other ones"
_FILES = (
    *code.RECIPE,
    *code.CNN,
    *code.MLP,
    "dnar2mae/laboratory/columns.py",
    "dnar2mae/laboratory/downstream.py",
    "dnar2mae/laboratory/regret.py",
    "dnar2mae/laboratory/grids/quick.yaml",
)


def _regret(rows: list[Row]) -> str:
    """Show what each law loses, the least first; "best fixed" is the fixed ratio that is best in each column."""
    of = {f"`{law}`": [row for row in rows if row["law"] == law] for law in dict.fromkeys(row["law"] for row in rows)}
    of["best fixed of each column"] = [row for row in rows if row["law"] == row["best_fixed"]]
    lines = []
    for name, own in sorted(of.items(), key=lambda item: mean(row["regret"] for row in item[1])):
        worst = max(own, key=lambda row: row["regret"])
        lines.append([name, f"{mean(row['regret'] for row in own):.2f}", f"{worst['regret']:.2f}"])
        lines[-1].append(f"{worst['setting']} {worst['measure']} {worst['at']}")
        parts = ([row["regret"] for row in own if row["measure"] == measure] for measure in _MEASURES)
        lines[-1] += [f"{mean(part):.2f}" for part in parts]
    return markdown(["law", "mean, %", "worst, %", "where", *_MEASURES], lines)


def _differences(rows: list[Row]) -> str:
    """Show each random law less the fixed ratio that is best in the column; a loss is better if negative."""
    at = {(row["setting"], row["measure"], str(row["at"]), row["law"]): row for row in rows}
    table = []
    for setting in dict.fromkeys(row["setting"] for row in rows):
        for measure, place in _COLUMNS:
            first = at[setting, measure, place, _RANDOM[0]]
            cells = [_difference(at[setting, measure, place, law]) for law in _RANDOM]
            best = f"`{first['best_fixed']}`, {at[setting, measure, place, first['best_fixed']]['value']:.4f}"
            table.append([setting, f"{measure}, {place}", first["unit"], best, *cells])
    return markdown(["setting", "column", "unit", "best fixed", *(f"`{law}`" for law in _RANDOM)], table)


def _difference(row: Row) -> str:
    text = f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
    return clear(text, row["low"], row["high"], 4)


def _mean_loss(rows: list[Row]) -> str:
    """Show each random law's mean loss over ratios less that of the best fixed ratio, in the loss and in per cent."""
    lines = [
        [row["setting"], row["unit"], f"`{row['best_fixed']}`, {row['best_value']:.4f}", f"`{row['law']}`"]
        + [_difference(row), f"{100 * row['difference'] / row['best_value']:+.1f} %"]
        for row in rows
    ]
    return markdown(["setting", "unit", "best fixed", "law", "difference", "in per cent"], lines)


def _mean_regret(rows: list[Row]) -> str:
    """Show how each law's mean regret differs from that of the fixed ratio where it is lowest."""
    at = {(row["law"], row["rates"]): row for row in rows}
    rates = list(dict.fromkeys(row["rates"] for row in rows))
    lines = []
    for law in dict.fromkeys(row["law"] for row in rows):
        lines.append([f"`{law}`"])
        for own in (at[law, name] for name in rates):
            lines[-1] += [f"{own['mean']:.2f}", "" if law == own["against"] else _points(own)]
    heads = [head for name in rates for head in (f"{name}: mean, %", f"less `{at[law, name]['against']}`")]
    return markdown(["law", *heads], lines)


def _points(row: Row) -> str:
    return clear(f"{row['difference']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]", row["low"], row["high"], 2)


def _rates(rows: list[Row]) -> str:
    """Show the area of each law by the learning rate that it ran at."""
    rates = sorted({row["lr"] for row in rows})
    cells = {(row["law"], row["lr"]): f"{row['area']:.4f} ± {row['sd']:.4f}" for row in rows}
    laws = dict.fromkeys(row["law"] for row in rows)
    return markdown(
        ["law", *(f"learning rate {rate:g}" for rate in rates)],
        [[f"`{law}`", *(cells.get((law, rate), "") for rate in rates)] for law in laws],
    )


_LAW = ("setting", "measure", "at", "law")
TABLES: tuple[Figure, ...] = tuple(
    Figure(
        name=name,
        source=f"{source}.csv",
        choose=choose,
        key=key,
        show=show,
        command=command,
        files=_FILES,
    )
    for name, source, key, show, choose, command in (
        ("grid_regret", "grid_regret", _LAW, _regret, where(), _COMMAND),
        ("grid_differences", "grid_regret", _LAW, _differences, where(), _COMMAND),
        ("grid_mean_loss", "grid_mean_loss", ("setting", "law"), _mean_loss, where(), _COMMAND),
        ("grid_mean_regret", "grid_mean_regret", ("law", "rates"), _mean_regret, where(), _BOTH),
        ("grid_rates", "grid_rates", ("law", "lr"), _rates, where(setting="pbmc-mlp"), _BOTH),
    )
)
