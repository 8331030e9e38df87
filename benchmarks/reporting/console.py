"""What ``dnar2mae benchmark`` prints, and the models that its flags name."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnar2mae.benchmarks.running.options import JudgedModels
from dnar2mae.errors import ConfigError

if TYPE_CHECKING:
    from dnar2mae.benchmarks.running.cells import ModelSpec

_PIPE_COLUMNS = 140  # width of tables that go to a file or a pipe, where rich would assume 80


def model_specs(models: JudgedModels) -> list["ModelSpec"]:
    """Return the models that flags name, each by PATH or NAME=PATH; those of one NAME are runs of one recipe.

    Raises
    ------
    ConfigError
        If names repeat that were not given, or one is empty.
    """
    from dnar2mae.benchmarks.running.cells import ModelSpec
    from dnar2mae.inference import is_trained_model

    specs, trusted, unnamed = [], models.trust_remote_code, set()
    for given in models.model:
        named, equals, path = given.partition("=")
        if not equals or Path(given).exists():  # a path may have an = in it
            named, path = "", given
        elif not named:
            raise ConfigError(f"--model: {given} has no name before the =; give NAME=PATH")
        kind = "checkpoint" if is_trained_model(Path(path)) else "huggingface"
        name = named or Path(path).resolve().name
        unnamed |= set() if named else {name}
        specs.append(ModelSpec(name=name, kind=kind, path=path, device=models.device, trust_remote_code=trusted))
    names = [spec.name for spec in specs]
    if repeated := sorted(name for name in unnamed if names.count(name) > 1):
        raise ConfigError(
            f"--model: several are called {', '.join(repeated)}; give each as NAME=PATH, by one NAME if they are runs "
            "of one recipe"
        )
    return specs


def print_scores(store: Any, rows: list[dict[str, Any]]) -> None:
    """Print a line a task and model, remarks, and mean ranks."""
    from dnar2mae.benchmarks.reporting.summary import cell_text, contestant, ranks, remarks, summarise

    summary = summarise(store, rows)
    if summary.empty:
        return
    table = [
        {
            "task": row["task"] + ("*" if row["flags"] else ""),
            "model": contestant(row),
            "metric": row["metric"],
            "score, sd, 95 % interval": cell_text(row),
            "without duplicates": f"{row['filtered']:.3f}" if row["num_duplicates"] else "=",
        }
        for row in summary.to_dict("records")
    ]
    print_table("Scores", table)
    for row in summary[summary["flags"] != ""].drop_duplicates("task").to_dict("records"):
        print(f"* {row['task']}: {row['flags']}; not comparable with published scores")
    for remark in remarks(summary):
        print(f"Note: {remark}")
    rank_of = ranks(summary)
    if len(rank_of) > 1:
        print("Mean rank: " + ", ".join(f"{name} {rank:.2f}" for name, rank in rank_of.items()))


def print_table(title: str, rows: list[dict[str, str]]) -> None:
    """Print rows of texts by column to the terminal, or 140 columns wide to a file or a pipe."""
    from rich.console import Console
    from rich.table import Column, Table

    columns = [Column(name, overflow="fold") for name in rows[0]] if rows else []
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row.values())
    width = None if sys.stdout.isatty() else _PIPE_COLUMNS
    Console(highlight=False, markup=False, width=width).print(table)
