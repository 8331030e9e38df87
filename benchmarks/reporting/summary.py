"""From cells to a table: mean and sd over seeds, intervals over test rows, comparisons, ranks."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dnar2mae.benchmarks.running.results import Store
from dnar2mae.scoring.bootstrap import ModelDifference, compare, interval, mean_ranks, resample_scores
from dnar2mae.scoring.scores import COUNT_SCORES, confusion

PUBLISHED = Path(__file__).parents[1] / "published"
_GROUP = ["suite", "task", "protocol", "method", "both_strands", "model"]


def summarise(store: Store, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row for each task, model and method.

    Parameters
    ----------
    store
        Where the predictions are.
    rows
        Finished cells; failed ones are left out.

    Returns
    -------
    DataFrame
        ``score`` is the official metric's mean over seeds, ``sd`` their sample sd (NaN for one), ``low`` and ``high``
        the 95 % bootstrap interval over test rows of that mean, ``filtered`` the mean without duplicate rows.
    """
    groups: dict[tuple, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["status"] == "done":
            groups.setdefault(tuple(row[name] for name in _GROUP), []).append(row)
    table = []
    for key, cells in groups.items():
        first = cells[0]
        metric = first["metric"]
        values = _values(cells, "scores", metric)
        filtered = _values(cells, "filtered", metric)
        low, high = _interval(store, cells)
        table.append(
            dict(zip(_GROUP, key, strict=True))
            | {
                "group": first["group"],
                "kind": first["kind"],
                "metric": metric,
                "score": values.mean(),
                "sd": values.std(ddof=1) if len(values) > 1 else np.nan,
                "low": low,
                "high": high,
                "filtered": filtered.mean(),
                "num_seeds": len(cells),
                "num_test": first["num_test"],
                "num_duplicates": first["num_duplicates"],
                "num_parameters": first["num_parameters"],
                "seconds": sum(cell["seconds"] for cell in cells),
                "flags": "; ".join(first["flags"]),
                "notes": "; ".join(first["notes"]),
                "protocol_seeds": first.get("protocol_seeds"),
            }
        )
    return pd.DataFrame(table)


def remarks(summary: pd.DataFrame) -> list[str]:
    """Return remarks on the scores, one line each: fewer seeds than the protocol has, and notes on the data."""
    rows = summary.to_dict("records")
    fewer = {
        f"{contestant(row)}: {row['num_seeds']} of the {row['protocol_seeds']:.0f} seeds of protocol {row['protocol']}"
        for row in rows
        if is_seeded(row) and row["num_seeds"] < row["protocol_seeds"]
    }
    noted: dict[str, list[str]] = {}
    for row in rows:
        for note in filter(None, row["notes"].split("; ")):
            noted.setdefault(f"{row['task']}: {note}", []).append(contestant(row))
    every = {task: sum(row["task"] == task for row in rows) for task in summary["task"]}
    lines = [
        text if len(names) == every[text.split(": ")[0]] else f"{text} ({', '.join(names)})"
        for text, names in noted.items()
    ]
    return [*sorted(fewer), *lines]


def is_seeded(row: Mapping[Any, Any]) -> bool:
    """Tell whether a result depends on a seed: that of frozen pretrained vectors and of counts does not."""
    return row["method"] not in ("probe", "knn") or row["kind"] == "random"


def cell_text(row: Any) -> str:
    """Write score, sd over seeds, and interval, as ``0.712 ± 0.004 (5 seeds) [0.690, 0.733]``."""
    text = f"{row['score']:.3f}"
    text += f" ± {row['sd']:.3f}" if row["num_seeds"] > 1 else ""
    text += f" ({row['num_seeds']} seed{'s' * (row['num_seeds'] > 1)})" if is_seeded(row) else ""
    return text if math.isnan(row["low"]) else f"{text} [{row['low']:.3f}, {row['high']:.3f}]"


def contestant(row: Mapping[Any, Any]) -> str:
    """Return the name of a model with its method, as tables show it."""
    return f"{row['model']}, {row['method']}{', both strands' if row['both_strands'] else ''}"


def ranks(summary: pd.DataFrame) -> dict[str, float]:
    """Return the mean rank of each model and method over the tasks that all of them have."""
    scores: dict[str, dict[str, float]] = {}
    for row in summary.to_dict("records"):
        scores.setdefault(contestant(row), {})[f"{row['suite']}:{row['task']}"] = row["score"]
    return dict(sorted(mean_ranks(scores).items(), key=lambda item: item[1]))


def compare_models(store: Store, rows: Sequence[Mapping[str, Any]], first: str, second: str) -> ModelDifference | None:
    """Compare two models over the tasks that both have, by a paired bootstrap; None where there is none.

    Parameters
    ----------
    store, rows
        Where results are.
    first, second
        Names as :func:`contestant` returns them; the difference is first minus second.
    """
    cells: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["status"] == "done" and row["metric"] in COUNT_SCORES:
            cells.setdefault((f"{row['suite']}:{row['task']}", contestant(row)), []).append(row)
    tasks = sorted({task for task, name in cells if name == first} & {task for task, name in cells if name == second})
    observed, resampled = [], []
    for task in tasks:
        pair = [cells[task, first], cells[task, second]]
        labels, predicted = zip(*(_predictions(store, seeds) for seeds in pair), strict=True)
        row = pair[0][0]
        score = COUNT_SCORES[row["metric"]]
        num_classes = len(row["classes"])
        means = [np.mean([score(confusion(labels[0], p, num_classes)) for p in seeds]) for seeds in predicted]
        draws = resample_scores(labels[0], predicted, row["metric"], num_classes, rng=_rng(task))
        observed.append(means[0] - means[1])
        resampled.append(draws[:, 0] - draws[:, 1])
    return compare(np.array(observed), resampled) if tasks else None


def pairwise(store: Store, rows: Sequence[dict[str, Any]], summary: pd.DataFrame) -> pd.DataFrame:
    """Compare every pretrained model by every method with all others, over the tasks that both have."""
    names = {contestant(row): row["kind"] for row in summary.to_dict("records")}
    table = []
    for first in (name for name, kind in names.items() if kind in ("checkpoint", "huggingface")):
        for second in names:
            if second == first or (comparison := compare_models(store, rows, first, second)) is None:
                continue
            table.append(
                {
                    "model": first,
                    "against": second,
                    "difference": comparison.difference.value,
                    "low": comparison.difference.low,
                    "high": comparison.difference.high,
                    "p": comparison.p_value,
                    "higher on": f"{comparison.wins} of {comparison.num_tasks} tasks",
                }
            )
    return pd.DataFrame(table)


def published(suite: str) -> pd.DataFrame:
    """Read the published scores of a packaged suite, with source and protocol; empty where none are kept."""
    path = PUBLISHED / f"{suite}.csv"
    columns = ["suite", "task", "model", "metric", "value", "spread", "spread_kind", "protocol", "source"]
    return pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=columns).astype({"value": float})


def _values(cells: Sequence[Mapping[str, Any]], name: str, metric: str) -> np.ndarray:
    return np.array([cell[name].get(metric) for cell in cells], np.float64)


def _predictions(store: Store, cells: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    in_order = sorted(cells, key=lambda cell: cell["seed"])  # not that in which parallel cells have finished
    tables = [store.read_predictions(cell) for cell in in_order]
    return tables[0]["label"].to_numpy(), np.stack([table["predicted"].to_numpy() for table in tables])


def _interval(store: Store, cells: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    first = cells[0]
    if first["metric"] not in COUNT_SCORES:
        return np.nan, np.nan
    labels, predicted = _predictions(store, cells)
    draws = resample_scores(labels, [predicted], first["metric"], len(first["classes"]), rng=_rng(first["task"]))
    bounds = interval(0.0, draws[:, 0])
    return bounds.low, bounds.high


def _rng(task: str) -> np.random.Generator:
    """Return a generator of its own for each task, the same in every report."""
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(task.encode(), digest_size=8).digest()))
