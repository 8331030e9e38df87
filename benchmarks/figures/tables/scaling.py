"""Arithmetic for sizes that were not run, from rates that were measured."""

from dnar2mae.benchmarks.figures.figure import Figure, Row, lines, markdown
from dnar2mae.benchmarks.figures.tables import code

_HEAD = ("what", "arithmetic", "result")


def _seconds(seconds: float) -> str:
    unit, size = next(((u, s) for u, s in (("hours", 3600.0), ("minutes", 60.0)) if seconds >= 1.5 * s), ("s", 1.0))
    number = seconds / size
    return f"{number:.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}"


def _rates(rows: list[Row], value: str) -> dict[str, float]:
    return {str(row["what"]): row[value] for row in rows}


def _billion(rows: list[Row]) -> str:
    """Show what a billion parameters need on 64 GPUs, from the rates of a checkpoint."""
    rates = _rates(rows, "gb_per_s")
    copy, write, read = (rates[what] for what in ("copy, training waits", "write, checksums, flush", "check and read"))
    waits, writes = 12 / copy, 12 / write
    stop = writes + waits + writes
    table = [
        ["state, all ranks", "1e9 x (12 + 4 for gradients) bytes", "16 GB"],
        ["state, a rank under FSDP", "/ 64", "0.25 GB"],
        ["the same under DDP", "whole", "16 GB a GPU: fits 80 GB, no FSDP needed yet"],
        [
            "gradient traffic of a step, DDP, fp32",
            "2 x 4 GB x 63 / 64",
            "7.9 GB out of each GPU; 3.9 GB with `--reduce bf16`",
        ],
        ["traffic of a step, FSDP, fp32", "two gathers and one scatter, 3 x 4 GB x 63 / 64", "11.8 GB"],
        ["checkpoint", "12 bytes x 1e9", "12 GB on disk"],
        ["copy, training waits", f"12 / {copy:.2g}", _seconds(waits)],
        ["write, in the background", f"12 / {write:.2g}", f"{_seconds(writes)}, of this disk"],
        [
            "a stop, with one write just begun",
            f"{writes:.0f} + {waits:.0f} + {writes:.0f}",
            f"{stop:.0f} s: give `--shutdown-timeout` more",
        ],
        [
            "check and read, each rank",
            f"12 / {read:.2g}",
            f"{_seconds(12 / read)}, if the disk serves all at that rate",
        ],
        ["share of time at one checkpoint in 30 minutes", f"{waits:.2g} / 1800", f"{waits / 1800:.1%}"],
        ["work of a step of 1 M tokens", "6 x 1e9 x 1e6", "6e15 operations, 94e12 a GPU"],
    ]
    return markdown(_HEAD, table)


def _terabases(rows: list[Row]) -> str:
    """Show what ten terabases need, from the rates of one core."""
    rates = _rates(rows, "rate")
    build, opened = rates["build from plain FASTA"] * 1e6, rates["open a built genome, all checked"] * 1e6
    windows = rates["windows of 512 bp with tokens"] * 512
    table = [
        ["cache", "10e12 bases x 1 byte", "10 TB"],
        ["building it, a core", f"10e12 / {build:.3g}", _seconds(10e12 / build)],
        [
            "building it, 64 processes over files",
            "/ 64",
            f"{_seconds(10e12 / build / 64)}, if the disk gives {build * 64 / 1e9:.0f} GB/s",
        ],
        [
            "checking it at every start, a core",
            f"10e12 / {opened:.3g}",
            f"{_seconds(10e12 / opened)}; the human genome takes {_seconds(3.1e9 / opened)}",
        ],
        ["one pass of 512-bp windows, a loader core", f"10e12 / {windows:.3g}", _seconds(10e12 / windows)],
        [
            "loader cores for 64 GPUs at 1 M tokens a second each",
            f"64e6 / {windows:.3g}",
            f"{64e6 / windows:.2g} cores in all",
        ],
    ]
    return markdown(_HEAD, table)


def _is_base(row: Row) -> bool:
    return row["preset"] == "base"


TABLES = (
    Figure(
        name="checkpoint",
        source="checkpoint.csv",
        key=("what", "preset"),
        show=lines({"what": "{what}", "seconds": "{seconds:.2f}", "rate": "{gb_per_s:.2f} GB/s", "size": "{gb} GB"}),
        command="python -m dnar2mae.benchmarks.speed.bench_checkpoint",
        files=code.CHECKPOINT,
    ),
    Figure(
        name="scaling_billion",
        source="checkpoint.csv",
        choose=_is_base,
        key=("what",),
        show=_billion,
        command="python -m dnar2mae.benchmarks.speed.bench_checkpoint --preset base",
        files=code.CHECKPOINT,
    ),
    Figure(
        name="scaling_terabases",
        source="genome.csv",
        choose=lambda row: row["megabases"] == 1000,
        key=("what",),
        show=_terabases,
        command="python -m dnar2mae.benchmarks.speed.bench_genome --megabases 1000",
        files=code.GENOME,
    ),
)
