"""Noise and cost of the bound on bits per base."""

from dnar2mae.benchmarks.figures.figure import Figure, lines
from dnar2mae.benchmarks.figures.tables import code

TABLES = (
    Figure(
        name="density_noise",
        source="density.csv",
        key=("measure", "case"),
        show=lines({"what": "{measure}", "how": "{case}", "value": "{value:.4f}", "times the other": "{times:.2f}"}),
        command="python -m dnar2mae.benchmarks.speed.bench_density runs/ecoli",
        files=(*code.CNN, "dnar2mae/masking/*.py", "dnar2mae/training/bound.py", "dnar2mae/training/validation.py"),
    ),
)
