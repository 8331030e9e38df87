"""Bits per base by mask law; noise and cost of the bound."""

import statistics

from dnar2mae.benchmarks.figures.figure import Figure, Row, lines, markdown
from dnar2mae.benchmarks.figures.tables import code

_SCORED = ("chain_rule", "counts", "hidden", "likelihood", "strands", "windows")
_DENSITY = (*(f"dnar2mae/density/{name}.py" for name in _SCORED), "dnar2mae/training/bound.py")
_LAW_COLUMNS = {
    "bound": "bound",
    "held_out": "loss at 0.15",
    "markov": "Markov",
    "left-to-right": "exact, left to right",
    "random": "exact, random orders",
    "bound of these windows": "bound",
    "markov of these windows": "Markov",
}


def _laws(rows: list[Row]) -> str:
    """Show means over seeds with their standard deviations; differences between laws are the reader's to pair."""
    table = []
    columns = ("genome", "law", "steps", "clip", "strands")
    for about in dict.fromkeys(tuple(row[name] for name in columns) for row in rows):
        own = [row for row in rows if tuple(row[name] for name in columns) == about]
        cells = []
        for column in _LAW_COLUMNS:
            values = [row[column] for row in own]
            spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 and "arkov" not in column else ""
            cells.append(f"{statistics.mean(values):.4f}{spread}")
        windows = f"{own[0]['windows']}, {own[0]['exact_windows']}"
        table.append([about[0].split(".")[0], f"`{about[1]}`", *map(str, about[2:]), str(len(own)), windows, *cells])
    head = [
        "genome",
        "law / per / weighting",
        "steps",
        "clip",
        "strands",
        "seeds",
        "windows, exact",
        *_LAW_COLUMNS.values(),
    ]
    return markdown(head, table)


TABLES = (
    Figure(
        name="density_laws",
        source="density_laws.csv",
        key=("genome", "law", "steps", "clip", "strands", "seed"),
        show=_laws,
        command=(
            "python -m dnar2mae.benchmarks.speed.density_laws ecoli.fna.gz yeast.fa.gz --seeds 0 1 2 --steps 200 "
            "--num-windows 256 --exact-windows 8 --out runs/density"
        ),
        files=(*code.DEFAULT_RUN, *_DENSITY),
    ),
    Figure(
        name="density_noise",
        source="density.csv",
        key=("measure", "case"),
        show=lines({"what": "{measure}", "how": "{case}", "value": "{value:.4f}", "times the other": "{times:.2f}"}),
        command="python -m dnar2mae.benchmarks.speed.bench_density runs/ecoli",
        files=(*code.CNN, "dnar2mae/masking/*.py", "dnar2mae/training/bound.py", "dnar2mae/training/validation.py"),
    ),
)
