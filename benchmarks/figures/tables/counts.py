"""The count models beside DNA runs: their bits per base, and what they cost."""

from collections.abc import Iterator
from typing import Any

from dnar2mae.benchmarks.figures.figure import Figure, Row, difference, markdown
from dnar2mae.benchmarks.figures.tables import code
from dnar2mae.training.validation import CURVE

_GENOMES = {
    "GCF_000005845.2_ASM584v2_genomic.fna.gz": "*E. coli* K-12",
    "Saccharomyces_cerevisiae.R64-1-1.dna.toplevel.fa.gz": "yeast R64",
    "C.elegans.fa.gz": "worm, 1 % sample",
    "lambda_virus.fa": "phage lambda",
    "demo.fa": "the demo's genome",
}
_REPORTED = 512
"""Held-out windows of a run's report, where there are so many."""
_ORDERS = (7, 8, 9, 10, 12, 15, 16)
_COMMAND = "python -m dnar2mae.benchmarks.speed.bench_yardsticks"


def _best(rows: list[Row], genome: str, family: str) -> Row:
    return min((row for row in rows if (row["genome"], row["family"]) == (genome, family)), key=_bits)


def _bits(row: Row) -> float:
    return row["bits_0.15"]


def _name(row: Row) -> str:
    """Return the order or the reach of a model: its name's last word."""
    return str(row["model"]).split()[-1]


def _by_genome(rows: list[Row]) -> Iterator[tuple[str, Row, Row]]:
    for genome, title in _GENOMES.items():
        if any(row["genome"] == genome for row in rows):
            yield title, _best(rows, genome, "one-sided"), _best(rows, genome, "two-sided")


def _values(rows: list[Row]) -> str:
    table = []
    for title, one, two in _by_genome(rows):
        windows = f"{one['windows']:,}" + (f" of {one['held_out']:,}" if one["windows"] < one["held_out"] else "")
        values = [f"{_bits(row):.3f} ± {row['standard_error']:.3f}" for row in (one, two)]
        table.append([title, windows, f"order {_name(one)}: {values[0]}", f"{_name(two)}: {values[1]}"])
    return markdown(["genome", "windows", "best one-sided", "best two-sided"], table)


def _curve(rows: list[Row]) -> str:
    table = [[title, *(f"{two[f'bits_{ratio}']:.3f}" for ratio in CURVE)] for title, _, two in _by_genome(rows)]
    return markdown(["two-sided, best k, by mask ratio", *map(str, CURVE)], table)


def _by_order(rows: list[Row]) -> str:
    table = []
    for genome, title in _GENOMES.items():
        values = {_name(row): f"{row['bits_every']:.3f}" for row in rows if row["genome"] == genome}
        if values:
            table.append([title, *(values[str(order)] for order in _ORDERS)])
    return markdown(["one-sided, every held-out base, by order", *map(str, _ORDERS)], table)


def _by_reach(rows: list[Row]) -> str:
    reaches = list(dict.fromkeys(_name(row) for row in rows))
    table = []
    for genome, title in _GENOMES.items():
        values = {_name(row): f"{_bits(row):.3f}" for row in rows if row["genome"] == genome}
        if values:
            table.append([title, *(values.get(reach, "-") for reach in reaches)])
    return markdown(["two-sided at 0.15, by k", *reaches], table)


def _cost(rows: list[Row]) -> str:
    titles = {row["genome"]: row for row in rows}
    table = [
        [
            _GENOMES.get(genome, "100 Mb of random bases"),
            f"{row['training_bp'] / 1e6:,.2f} Mb",
            f"{row['cpu_seconds']:g}",
            f"{row['peak_gb']:.2f} GB",
        ]
        for genome, row in sorted(titles.items(), key=lambda item: item[1]["training_bp"])
    ]
    return markdown(["genome", "training bases", "CPU s", "peak"], table)


def _figure(name: str, show: Any, family: str = "", *, every_window: bool = False) -> Figure:
    def chosen(row: Row) -> bool:
        windows = row["held_out"] if every_window else min(row["held_out"], _REPORTED)
        return row["windows"] == windows and family in ("", row["family"])

    return Figure(
        name=name,
        source="yardsticks.csv",
        choose=chosen,
        key=("genome", "model"),
        show=show,
        command=f"{_COMMAND} GENOME{' --windows all' * every_window}",
        files=(*code.COUNTS, *code.DNA, "dnar2mae/scoring/blocks.py"),
    )


def _copies(rows: list[Row]) -> str:
    table = []
    for run in dict.fromkeys(row["run"] for row in rows):
        own = [row for row in rows if row["run"] == run]
        first = own[0]
        below = difference(first["below_by"], first["below_by_se"], first["windows"])
        table.append(
            [
                run,
                *(_of_seeds(own, name) for name in ("held_out", "copies")),
                f"{first['best_one_sided']}: {first['one_sided']:.3f}, above by {below}",
                *(_of_seeds(own, name) for name in ("area", "copies_area")),
            ]
        )
    titles = ["run", "the model", "with copies", "best one-sided, above the model with copies", "area", "with copies"]
    return markdown(titles, table)


def _copies_line(rows: list[Row]) -> str:
    runs = dict.fromkeys(row["run"] for row in rows)
    return "; ".join(f"{run} {_of_seeds([row for row in rows if row['run'] == run], 'copies')}" for run in runs)


def _of_seeds(rows: list[Row], name: str) -> str:
    return ", ".join(f"{row[name]:.3f}" for row in rows)


def _copies_figure(name: str, show: Any, what: str = "") -> Figure:
    return Figure(
        name=name,
        what=what,
        source="copies.csv",
        key=("run", "seed"),
        show=show,
        command="dnar2mae pretrain GENOME --seed SEED --out runs/first",
        files=(*code.DEFAULT_RUN, "dnar2mae/genome/copies.py"),
    )


LINES = (_copies_figure("copies_line", _copies_line, "held-out bits per base with [copies](yardsticks.md) looked up"),)

TABLES = (
    _copies_figure("copies", _copies),
    _figure("yardsticks", _values),
    _figure("yardstick_curve", _curve),
    _figure("yardstick_reaches", _by_reach, "two-sided"),
    _figure("yardstick_orders", _by_order, "one-sided", every_window=True),
    _figure("yardstick_cost", _cost),
)
