"""Held-out losses of default runs, of the yardsticks, and the time to a loss."""

from dnar2mae.benchmarks.figures.figure import Figure, Row, difference, markdown, where
from dnar2mae.benchmarks.figures.tables import code


def _seed_loss(row: Row) -> str:
    error = row["standard_error"]
    return f"{row['held_out']:.3f}" + (f" ± {error:.3f}" if error != "" else "")


def _loss(rows: list[Row]) -> str:
    """Return the losses of the seeds and what the model is below, for the first seed."""
    first = rows[0]
    losses = "; ".join(map(_seed_loss, rows))
    seeds = f"seed{'s' * (len(rows) > 1)} {', '.join(str(row['seed']) for row in rows)}"
    text = f"{losses} ({first['windows']} windows; {seeds})"
    if areas := [f"{row['area']:.3f}" for row in rows if isinstance(row["area"], float)]:
        text += f"; area under the curve {', '.join(areas)}"
    lower = " (lower than the model)" if first["one_sided"] < first["held_out"] else ""
    text += f". {first['best_one_sided']} {first['one_sided']:.3f}{lower}"
    text += f"; {first['best_two_sided']} {first['two_sided']:.3f}"
    if isinstance(first["two_sided_below_by"], float):
        below, error = first["two_sided_below_by"], first["two_sided_below_by_se"]
        text += f", {'above' if below > 0 else 'below'} the model by {difference(abs(below), error, first['windows'])}"
    return text + _unique(first) + (f". {first['cpu_seconds']} s" if first["cpu_seconds"] != "" else "")


def _unique(row: Row) -> str:
    """Return the same of the windows that share no stretch with the training bases, where there are others."""
    if row["unique_windows"] == "":
        return ""
    text = (
        f". In the {row['unique_windows']} windows without 32 bases in a row of the training part {row['unique']:.3f}"
    )
    text += f" ± {row['unique_se']:.3f}"
    for side in ("one_sided", "two_sided"):
        below, error = row[f"unique_{side}_below_by"], row[f"unique_{side}_below_by_se"]
        of = difference(abs(below), error, row["unique_windows"])
        text += f", {row[f'unique_best_{side}']} {'above' if below > 0 else 'below'} by {of}"
    return text


def _run(name: str, what: str, genome: str, command: str, *, flags: str = "", gpu: bool = False) -> Figure:
    chosen = where(genome=genome, preset="tiny", flags=flags)
    return Figure(
        name=name,
        what=what,
        source="default_runs.csv",
        choose=lambda row: chosen(row) and row["device"].startswith("NVIDIA") == gpu,
        key=("seed",),
        show=_loss,
        command=command,
        files=code.DEFAULT_RUN,
    )


def _seconds_to(rows: list[Row], recipe: str, seed: int, target: float) -> float | None:
    """Return the seconds to a held-out loss, on a straight line between two validations; None if it is not reached."""
    run = [row for row in rows if row["recipe"] == recipe and row["seed"] == seed]
    for before, after in zip(run, run[1:], strict=False):
        if after["held_out"] <= target < before["held_out"]:
            share = (before["held_out"] - target) / (before["held_out"] - after["held_out"])
            return before["seconds"] + share * (after["seconds"] - before["seconds"])
    return None


def _time_to_loss(rows: list[Row]) -> str:
    table = []
    for recipe in dict.fromkeys(row["recipe"] for row in rows):
        seeds = sorted({row["seed"] for row in rows if row["recipe"] == recipe})
        ends = [[row for row in rows if (row["recipe"], row["seed"]) == (recipe, seed)][-1] for seed in seeds]
        times = [_seconds_to(rows, recipe, seed, _TARGET) for seed in seeds]
        table.append(
            [
                f"`{recipe}`",
                ", ".join("not reached" if time is None else f"{time:.0f}" for time in times),
                ", ".join(f"{end['held_out']:.3f}" for end in ends),
                ", ".join(f"{end['seconds']:.0f}" for end in ends),
            ]
        )
    return markdown(["recipe", f"seconds to {_TARGET}, by seed", "loss at the end", "after seconds"], table)


_TARGET = 1.906
_FASTA = "GCF_000005845.2_ASM584v2_genomic.fna.gz"
HOUR = "--model.width 192 --model.depth 9 --model.mlp-width 288 --batch-size 16 --steps 2500"
"""What a core does in less than an hour, in place of the five minutes of the default."""

LINES = (
    _run(
        "ecoli",
        "*E. coli* K-12, held-out bits per base (last 10 %, mask ratio 0.15)",
        "E. coli K-12",
        f"dnar2mae pretrain {_FASTA} --out runs/ecoli --seed 0",
    ),
    _run(
        "ecoli_gpu",
        "the same on a GPU",
        "E. coli K-12",
        f"dnar2mae pretrain {_FASTA} --out runs/ecoli --seed 0 --num-workers 2",
        flags="--num-workers 2",
        gpu=True,
    ),
    _run(
        "ecoli_hour",
        "the same, a wider and deeper model for 44 minutes of one core, beside other work",
        "E. coli K-12",
        f"dnar2mae pretrain {_FASTA} {HOUR} --out runs/hour --seed 0",
        flags=HOUR,
    ),
    _run("demo", "the demo, held-out bits per base", "demo", "make demo"),
    _run(
        "yeast",
        "*S. cerevisiae*, held-out bits per base",
        "yeast R64",
        "dnar2mae pretrain Saccharomyces_cerevisiae.R64-1-1.dna.toplevel.fa.gz --out runs/yeast",
    ),
    _run(
        "worm",
        "*C. elegans*, a 1 % sample, held-out bits per base",
        "worm, 1 % sample",
        "dnar2mae pretrain C.elegans.fa.gz --out runs/worm",
    ),
    _run(
        "lambda_short",
        "phage lambda (48.5 kb), held-out bits per base after 200 steps",
        "phage lambda",
        "dnar2mae pretrain lambda_virus.fa --out runs/lambda --steps 200",
        flags="--steps 200",
    ),
    _run(
        "lambda",
        "after the default 1,500, which fit it by heart: the run says so and names `checkpoints/best`",
        "phage lambda",
        "dnar2mae pretrain lambda_virus.fa --out runs/lambda",
    ),
)

TABLES = (
    Figure(
        name="time_to_loss",
        source="time_to_loss.csv",
        choose=where(genome="ecoli.fna.gz"),
        key=("recipe", "seed", "step"),
        show=_time_to_loss,
        command="python -m dnar2mae.benchmarks.speed.time_to_loss --genomes ecoli.fna.gz --windows 128 "
        "--validations 12 --recipes tiny transformer hybrid modernbert-tuned --seconds 60 60 60 300 --precision bf16; "
        "--recipes gpn --seconds 60 in a command of its own",
        files=(
            *code.RECIPE,
            *code.CNN,
            *code.TRANSFORMER,
            "benchmarks/speed/recipes.py",
            "benchmarks/speed/learners.py",
            "benchmarks/speed/gpn.py",
        ),
    ),
)
