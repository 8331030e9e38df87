"""From cells to a table: mean and sd over seeds, intervals over test rows, comparisons, ranks."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dnar2mae.benchmarks.running.results import Store
from dnar2mae.scoring.intervals import (
    SMALL_CLASS,
    SMALL_CLASS_NOTE,
    ModelDifference,
    Score,
    compare,
    mean_ranks,
    score_rows,
)
from dnar2mae.scoring.scores import COUNT_SCORES

PUBLISHED = Path(__file__).parents[1] / "published"
ALL_TASKS = "all"
"""Name of the comparison over all tasks."""
_PRETRAINED = ("checkpoint", "huggingface", "combined")
_GROUP = ["suite", "task", "data", "protocol", "method", "both_strands", "model"]


def summarise(store: Store, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row for each task, model and method of the finished cells; failed ones are left out.

    Returns
    -------
    DataFrame
        ``data`` names the test rows: only what was tested on the same is averaged and compared. ``score`` is the
        official metric's mean over seeds, or over ``num_runs`` of ``of_runs`` runs of one recipe, ``sd`` their sample
        sd (NaN for one), ``low`` and ``high`` the 95 % interval over test rows of that mean, ``filtered`` the mean
        without duplicate rows, ``smallest_class`` the test rows of the rarest class, ``chosen`` what was chosen on dev,
        and ``notes`` what a reader must know; of all seeds.
    """
    groups: dict[tuple, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["status"] == "done":
            groups.setdefault(tuple({**row, "data": _data(row)}[name] for name in _GROUP), []).append(row)
    table = []
    for key, cells in groups.items():
        first = cells[0]
        metric = first["metric"]
        values = _values(cells, "scores", metric)
        filtered = _values(cells, "filtered", metric)
        labels, score = _scored(store, cells)
        bounds = score.interval()
        table.append(
            dict(zip(_GROUP, key, strict=True))
            | {
                "group": first["group"],
                "kind": first["kind"],
                "metric": metric,
                "score": values.mean(),
                "sd": values.std(ddof=1) if len(values) > 1 else np.nan,
                "low": bounds.low,
                "high": bounds.high,
                "smallest_class": int(np.bincount(labels, minlength=len(first["classes"])).min()),
                "filtered": filtered.mean(),
                "num_seeds": len(cells),
                "num_runs": len({cell["model_digest"] for cell in cells}),
                "of_runs": max(cell.get("of_runs", len({c["model_digest"] for c in cells})) for cell in cells),
                "num_test": first["num_test"],
                "num_duplicates": first["num_duplicates"],
                "num_parameters": first["num_parameters"],
                "seconds": sum(cell["seconds"] for cell in cells),
                "flags": "; ".join(first["flags"]),
                "chosen": "; ".join(dict.fromkeys(_chosen(cell["chosen"]) for cell in cells)),
                "notes": "; ".join(dict.fromkeys(note for cell in cells for note in cell["notes"])),
                "protocol_seeds": first.get("protocol_seeds"),
            }
        )
    return pd.DataFrame(table)


def _data(row: Mapping[str, Any]) -> str:
    """Return a short name of the rows that a cell was tested on."""
    folds = row["settings"].get("folds")
    return row["data_digest"][:8] + (f", {folds} folds" if folds else "")


def _chosen(setting: Mapping[str, Any]) -> str:
    """Write a setting as ``bins, c 10``."""
    return ", ".join(value if isinstance(value, str) else f"{name} {value:g}" for name, value in setting.items())


def remarks(summary: pd.DataFrame) -> list[str]:
    """Return remarks on the scores, one line each: too few seeds, small test sets, and notes on the data."""
    rows = summary.to_dict("records")
    fewer = {
        f"{contestant(row)}: {row['num_seeds']} of the {row['protocol_seeds']:.0f} seeds of protocol {row['protocol']}"
        for row in rows
        if is_seeded(row) and row["num_seeds"] < row["protocol_seeds"] and row["of_runs"] == 1
    }
    fewer |= {
        f"{row['task']}: {contestant(row)}: {row['num_seeds']} of {row['of_runs']} runs"
        for row in rows
        if row["num_seeds"] < row["of_runs"]
    }
    noted: dict[str, list[str]] = {}
    for row in rows:
        for note in filter(None, row["notes"].split("; ")):
            noted.setdefault(f"{row['task']}: {note}", []).append(contestant(row))
    few = {
        f"{row['task']}: {row['smallest_class']} test rows of the rarest class, fewer than {SMALL_CLASS}: "
        f"{SMALL_CLASS_NOTE}"
        for row in rows
        if row["smallest_class"] < SMALL_CLASS
    }
    every = {task: sum(row["task"] == task for row in rows) for task in summary["task"]}
    lines = [
        text if len(names) == every[text.split(": ")[0]] else f"{text} ({', '.join(names)})"
        for text, names in noted.items()
    ]
    return [*sorted(fewer), *sorted(few), *lines]


def is_seeded(row: Mapping[Any, Any]) -> bool:
    """Tell whether a result depends on a seed: that of frozen pretrained vectors and of counts does not."""
    return row["method"] not in ("probe", "knn") or row["kind"] == "random"


def cell_text(row: Any) -> str:
    """Write score, sd over seeds or runs, and interval, as ``0.712 ± 0.004 (5 seeds) [0.690, 0.733]``."""
    text = f"{row['score']:.3f}"
    text += f" ± {row['sd']:.3f}" if row["num_seeds"] > 1 else ""
    if row["of_runs"] > 1:
        text += f" ({row['num_seeds']} run{'s' * (row['num_seeds'] > 1)})"
    elif is_seeded(row):
        text += f" ({row['num_seeds']} seed{'s' * (row['num_seeds'] > 1)})"
    return text if math.isnan(row["low"]) else f"{text} [{row['low']:.3f}, {row['high']:.3f}]"


def failure(row: Mapping[str, Any]) -> str:
    """Say which cell has failed, and why."""
    run = f" ({row['path']})" if row.get("of_runs", 1) > 1 else ""
    return f"{row['task']}, {row['model']}{run}, {row['method']}: {row['error']}"


def contestant(row: Mapping[Any, Any]) -> str:
    """Return the name of a model with its method, as tables show it."""
    return f"{row['model']}, {row['method']}{', both strands' if row['both_strands'] else ''}"


def ranks(summary: pd.DataFrame) -> dict[str, float]:
    """Return the mean rank of each model and method over the tasks that all have; by several protocols, within each."""
    scores: dict[str, dict[str, float]] = {}
    if len(parts := [part for _, part in summary.groupby("protocol", sort=False)]) > 1:
        return {f"{name}, {part['protocol'].iloc[0]}": rank for part in parts for name, rank in ranks(part).items()}
    for row in summary.to_dict("records"):
        scores.setdefault(contestant(row), {})[f"{row['suite']}:{row['task']}:{row['data']}"] = row["score"]
    return dict(sorted(mean_ranks(scores).items(), key=lambda item: item[1]))


def compare_models(
    store: Store, rows: Sequence[Mapping[str, Any]], first: str, second: str
) -> dict[str, ModelDifference]:
    """Compare two models on the same test rows: on each task that both have, and over all of these.

    The models are named as :func:`contestant` names them; the difference is first minus second. The comparison over all
    tasks comes last, as ``ALL_TASKS``; there is none where no task is common.
    """
    cells: dict[tuple[tuple[str, str], str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["status"] == "done":
            cells.setdefault(((f"{row['suite']}:{row['task']}", _data(row)), contestant(row)), []).append(row)
    tested = sorted({on for on, name in cells if name == first} & {on for on, name in cells if name == second})
    pairs = {on[0]: (_scored(store, cells[on, first])[1], _scored(store, cells[on, second])[1]) for on in tested}
    # a score is NaN where the test rows lack a class
    pairs = {task: pair for task, pair in pairs.items() if np.isfinite([score.value for score in pair]).all()}
    of_tasks = {task: compare([pair]) for task, pair in pairs.items()}
    return of_tasks | ({ALL_TASKS: compare(list(pairs.values()))} if pairs else {})


def pairwise(store: Store, rows: Sequence[dict[str, Any]], summary: pd.DataFrame) -> pd.DataFrame:
    """Compare every pretrained model by every method, alone and beside raw features, with all others.

    Within each protocol, over the tasks that both have, and on each of them; ``says`` names the differences that
    controls are run for.
    """
    parts = [part for _, part in summary.groupby("protocol", sort=False)]
    return pd.concat([_pairs_of(store, rows, part) for part in parts], ignore_index=True)


def _pairs_of(store: Store, rows: Sequence[dict[str, Any]], summary: pd.DataFrame) -> pd.DataFrame:
    """Compare models by one protocol."""
    protocol = summary["protocol"].iloc[0]
    rows = [row for row in rows if row["protocol"] == protocol]
    names = {contestant(row): row["kind"] for row in summary.to_dict("records")}
    table = []
    for first in (name for name, kind in names.items() if kind in _PRETRAINED):
        for second in (name for name in names if name != first):
            for task, comparison in compare_models(store, rows, first, second).items():
                table.append(
                    {
                        "task": task,
                        "protocol": protocol,
                        "model": first,
                        "against": second,
                        "difference": comparison.difference.value,
                        "low": comparison.difference.low,
                        "high": comparison.difference.high,
                        "p": comparison.p_value,
                        "higher on": f"{comparison.wins} of {comparison.num_tasks} tasks",
                        "says": _says(first, second, names),
                    }
                )
    return pd.DataFrame(table)


def _says(first: str, second: str, kinds: Mapping[str, str]) -> str:
    """Return what the difference between two contestants is, where one is a control of the other."""
    (model, method), (other, other_method) = (name.rsplit(", ", 1) for name in (first, second))
    if method == other_method and kinds[first] == "combined" and kinds[second] == "raw" and model.startswith(other):
        return "what the embedding adds"
    if method == other_method and kinds[first] == "checkpoint" and kinds[second] == "raw":
        return "vectors in place of raw features"
    return "what pretraining adds" if method == other_method and other == f"{model} (random weights)" else ""


def published(suite: str) -> pd.DataFrame:
    """Read the published scores of a packaged suite, with source and protocol; empty where none are kept."""
    path = PUBLISHED / f"{suite}.csv"
    columns = ["suite", "task", "model", "metric", "value", "spread", "spread_kind", "protocol", "source"]
    return pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=columns).astype({"value": float})


def _values(cells: Sequence[Mapping[str, Any]], name: str, metric: str) -> np.ndarray:
    return np.array([cell[name].get(metric) for cell in cells], np.float64)


def _scored(store: Store, cells: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, Score]:
    """Return the labels of the test rows, and the official metric over seeds."""
    in_order = sorted(cells, key=lambda cell: cell["seed"])  # not that in which parallel cells have finished
    tables = [store.read_predictions(cell) for cell in in_order]
    labels, metric, num_classes = tables[0]["label"].to_numpy(), cells[0]["metric"], len(cells[0]["classes"])
    columns = "predicted" if metric in COUNT_SCORES else [f"p{c}" for c in range(num_classes)]
    return labels, score_rows(metric, labels, [table[columns].to_numpy() for table in tables], num_classes)
