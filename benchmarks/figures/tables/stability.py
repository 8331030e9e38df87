"""Runs that survive: kills, damage, fuzzing, memory over long runs, checkpoints, an export that is checked."""

from dnar2mae.benchmarks.figures.figure import Figure, Row, lines
from dnar2mae.benchmarks.figures.tables import code

_STORAGE = ("dnar2mae/storage/*.py",)


def _memory(rows: list[Row]) -> str:
    return (
        f"{rows[0]['memory_mb']:.0f} and {rows[-1]['memory_mb']:.0f} MB; "
        f"{min(row['cpu_ms_per_step'] for row in rows):.0f} to {max(row['cpu_ms_per_step'] for row in rows):.0f} ms "
        "of processor time a step"
    )


def _long_run(name: str, what: str, objective: str, steps: int, flags: str) -> Figure:
    return Figure(
        name=name,
        what=what,
        source="long_run.csv",
        choose=lambda row: row["objective"] == objective and row["step"] <= steps,
        key=("step",),
        show=_memory,
        command=f"python -m dnar2mae.benchmarks.speed.long_run{flags}",
        files=("dnar2mae/training/trainer.py", "dnar2mae/training/step.py", "dnar2mae/training/loader.py"),
    )


LINES = (
    Figure(
        name="export_check",
        what="a Transformer of *E. coli* as a stock ModernBERT against ours, largest difference of logits",
        source="export_check.csv",
        key=("genome",),
        show=lambda rows: f"{rows[0]['largest_difference']:.1e} ({rows[0]['tokens']:,} tokens)",
        command="dnar2mae pretrain GCF_000005845.2_ASM584v2_genomic.fna.gz --model.backbone transformer --steps 150 "
        "--out runs/t; "
        "dnar2mae export runs/t --to models/t --check GCF_000005845.2_ASM584v2_genomic.fna.gz",
        files=("dnar2mae/hub/*.py", "dnar2mae/models/modernbert.py"),
    ),
    Figure(
        name="torture",
        what="runs stopped by signals and resumed: those with the weights and metrics of an undisturbed one",
        source="reliability.csv",
        choose=lambda row: str(row["what"]).startswith("runs that ended"),
        key=("what",),
        show=lambda rows: str(rows[0]["figure"]),
        command="make torture KILLS=110",
        files=(*code.CHECKPOINT, *_STORAGE, "tests/torture/*.py"),
    ),
    _long_run(
        "long_run",
        "resident memory in the first and last tenth of 10,000 steps of 8 windows of 128 bases",
        "mlm",
        10_000,
        "",
    ),
    _long_run("long_run_mae", "of 5,000 steps of the `mae` objective", "mae", 5_000, " --steps 5000 --objective mae"),
)

TABLES = (
    Figure(
        name="reliability",
        source="reliability.csv",
        key=("what",),
        show=lines({"what": "{what}", "figure": "{figure}", "command": "`{ran}`"}),
        command="make torture KILLS=110; make fuzz SECONDS=540",
        files=(*code.CHECKPOINT, *_STORAGE, "tests/torture/*.py", "tests/fuzz/*.py"),
    ),
    Figure(
        name="readers",
        source="readers.csv",
        key=("format",),
        show=lines(
            {
                "format": "{format}",
                "compared with": "{library}",
                "files": "{files:,}",
                "corrected": "{corrected}",
                "inputs fuzzed": "{fuzzed}",
                "differences that remain": "{remains}",
            }
        ),
        command="python -m pytest tests/differential --hypothesis-profile=long; python -m tests.fuzz --seconds 600",
        files=(
            "dnar2mae/genome/readers.py",
            "dnar2mae/genome/annotation*.py",
            "dnar2mae/genome/gff.py",
            "dnar2mae/genome/feature_tables.py",
            "dnar2mae/genome/bed.py",
            "dnar2mae/genome/twobit.py",
            "dnar2mae/variants/files.py",
            "dnar2mae/modalities/cell/tenx.py",
        ),
    ),
    Figure(
        name="cell_speed",
        source="cells.csv",
        key=("what",),
        show=lines({"what": "{what}", "cells a second": "{cells_per_s:,.0f}", "resident": "{peak_rss_mb} MB"}),
        command="python -m dnar2mae.benchmarks.speed.bench_cells --cells 100000 --read 8192",
        files=("dnar2mae/modalities/cell/*.py",),
    ),
)
