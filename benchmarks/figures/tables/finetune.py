"""Fine-tuned models on test rows, beside counts and random weights."""

from statistics import mean

from dnar2mae.benchmarks.figures.figure import Figure, Row, markdown

_MODELS = {"pretrained": "pretrained", "counts": "counts or pixels", "random weights": "random weights"}


def _tasks(rows: list[Row]) -> str:
    """Show the mean over seeds, their range, and the mean bounds of the intervals over test rows."""
    columns = {**_MODELS, "noise ceiling": "noise ceiling"}
    table = []
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        seeds = ", ".join(str(seed) for seed in dict.fromkeys(row["seed"] for row in own))
        steps = sorted({row["steps"] for row in own})
        table.append(
            [task, f"{own[0]['train']:,}", " to ".join(f"{n:,}" for n in dict.fromkeys((steps[0], steps[-1]))), seeds]
            + [own[0]["score"], *(_cell([row for row in own if row["model"] == model]) for model in columns)]
        )
    return markdown(["task", "training rows", "steps", "seeds", "score", *columns.values()], table)


def _cell(rows: list[Row]) -> str:
    if not rows:
        return ""
    values, lows, highs = ([row[name] for row in rows] for name in ("value", "low", "high"))
    spread = f" ({min(values):.3f} to {max(values):.3f})" if max(values) - min(values) >= 5e-4 else ""
    return f"{mean(values):.3f}{spread} [{mean(lows):.3f}, {mean(highs):.3f}]"


TABLES = (
    Figure(
        name="finetune",
        source="finetune.csv",
        key=("task", "seed", "model"),
        show=_tasks,
        command="dnar2mae finetune RUN --data DATA --seed SEED --out OUT",
        files=("dnar2mae/finetuning/*.py", "dnar2mae/genome/simulate/labels.py"),
    ),
)
