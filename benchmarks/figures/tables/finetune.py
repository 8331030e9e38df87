"""Fine-tuned models on test rows, beside counts and random weights."""

from dnar2mae.benchmarks.figures.figure import Figure, Row, markdown

_MODELS = {"pretrained": "pretrained", "counts": "counts or pixels", "random weights": "random weights"}


def _tasks(rows: list[Row]) -> str:
    cells = {
        (row["task"], row["lr"], row["model"]): f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        for row in rows
    }
    runs = {(row["task"], row["lr"]): row for row in rows}
    columns = [*_MODELS, "noise ceiling"]
    table = [
        [
            row["task"],
            f"{row['lr']:g}, {row['layer_decay']:g}",
            f"{row['train']:,}",
            f"{row['steps']:,}",
            row["score"],
            *(cells.get((*run, model), "") for model in columns),
        ]
        for run, row in runs.items()
    ]
    return markdown(
        ["task", "rate, decay", "training rows", "steps", "score", *_MODELS.values(), "noise ceiling"], table
    )


TABLES = (
    Figure(
        name="finetune",
        source="finetune.csv",
        key=("task", "lr", "model"),
        show=_tasks,
        command="dnar2mae finetune RUN --data DATA --lr RATE --layer-decay DECAY --out OUT",
        files=("dnar2mae/finetuning/*.py", "dnar2mae/genome/simulate/labels.py"),
    ),
)
