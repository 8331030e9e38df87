"""The report of a results folder: Markdown, HTML, plots and CSV."""

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dnar2mae.benchmarks.reporting.summary import (
    ALL_TASKS,
    cell_text,
    contestant,
    failure,
    pairwise,
    published,
    ranks,
    remarks,
    summarise,
)
from dnar2mae.benchmarks.running.results import Store, flat
from dnar2mae.errors import RunError
from dnar2mae.storage.safe_files import write_whole, written_whole

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;font-size:13px}td,th{padding:.25em .7em;border-bottom:1px solid #ddd;text-align:left}
th{background:#f6f6f6}img{max-width:100%}"""
_READING = (
    "Score: the official metric, mean over seeds, or over runs of one recipe. ±: sample sd over these; no number: one "
    "run, and no seed is used. "
    "Interval: 95 % over test rows: how far another test set of this size might move the score. Without "
    "duplicates: the score on test rows that occur in no other split, as they are or as their reverse complement. "
    "Published numbers were made under the protocol named beside them and compare with ours only under the same one."
)


Sections = dict[str, Sequence[str | pd.DataFrame | Path]]
"""Paragraphs, tables and images by heading."""
_COLUMNS = 3
_PUBLISHED_SHOWN = 2
_MARGIN = 0.05


def write_report(folder: Path) -> list[Path]:
    """Write ``report.md``, ``report.html``, ``results.csv``, ``summary.csv``, ``comparisons.csv`` and ``plots/``.

    Raises
    ------
    RunError
        The folder has no result.
    """
    store = Store(folder)
    rows = store.rows()
    summary = summarise(store, rows)
    if summary.empty:
        raise RunError(f"{folder}: no finished result; run dnar2mae benchmark run first")
    pairs = pairwise(store, rows, summary)
    tables = {"results.csv": flat(rows), "summary.csv": summary, "comparisons.csv": pairs}
    for name, table in tables.items():
        with written_whole(folder / name) as partial:
            table.to_csv(partial, index=False)
    sections: Sections = {}
    for suite, part in summary.groupby("suite", sort=False):
        plot = plot_suite(part, published(str(suite)), folder / "plots" / f"{Path(str(suite)).name}.png")
        parts = [
            _READING,
            plot,
            _scores(part),
            *_flagged(part),
            *map("Note: {}.".format, remarks(part)),
            _published_table(part, published(str(suite))),
        ]
        sections[f"Suite {suite}"] = [part for part in parts if part is not None]
    if not pairs.empty:
        over_all = pairs["task"] == ALL_TASKS
        sections["Paired comparisons"] = [pairs[over_all].drop(columns="task").round(4)]
        controls = pairs[~over_all & (pairs["says"] != "")].drop(columns=["p", "higher on"])
        if summary["task"].nunique() > 1 and not controls.empty:
            controls = controls.sort_values("task", kind="stable")
            sections["Paired comparisons with controls, by task"] = [controls.round(4)]
    ranked = [(name, round(rank, 2)) for name, rank in ranks(summary).items()]
    sections["Mean rank"] = [pd.DataFrame(ranked, columns=["model", "mean rank"])]
    failed = [failure(row) for row in rows if row["status"] != "done"]
    if failed:
        sections["Cells that failed"] = failed
    sections["Made with"] = [_provenance(rows)]
    write_whole(folder / "report.md", _markdown(sections, folder))
    write_whole(folder / "report.html", _html(sections, folder))
    return [folder / name for name in ("report.md", "report.html", *tables)]


def _scores(summary: pd.DataFrame) -> pd.DataFrame:
    table = [
        {
            "task": row["task"] + ("*" if row["flags"] else ""),
            "metric": row["metric"],
            "model": contestant(row),
            "protocol": row["protocol"],
            "score": cell_text(row),
            "without duplicates": f"{row['filtered']:.3f} ({row['num_duplicates']} rows less)"
            if row["num_duplicates"]
            else "no duplicates",
            "chosen on dev": row["chosen"],
            "parameters": row["num_parameters"],
        }
        for row in summary.to_dict("records")
    ]
    return pd.DataFrame(table)


def _flagged(summary: pd.DataFrame) -> list[str]:
    flags = summary[summary["flags"] != ""].drop_duplicates("task")
    if flags.empty:
        return []
    listed = "; ".join(f"{row['task']} ({row['flags']})" for row in flags.to_dict("records"))
    return [f"* Not the official data, never to be compared with published scores: {listed}."]


def _published_table(summary: pd.DataFrame, numbers: pd.DataFrame) -> pd.DataFrame | None:
    """Return the best three published scores of each task that has its official data."""
    whole = summary[summary["flags"] == ""][["task", "metric"]].drop_duplicates()
    known = whole.merge(numbers, on=["task", "metric"])
    if known.empty:
        return None
    best = known.sort_values(["task", "value"], ascending=[True, False]).groupby("task").head(3)
    table = best[["task", "model", "value", "protocol", "source"]]
    return table.rename(columns={"model": "published model", "value": "published score"})


def _provenance(rows: Sequence[dict[str, Any]]) -> str:
    facts = {f"dnar2mae {row['dnar2mae']}, commit {row['commit']}, torch {row['torch']}" for row in rows}
    dates = sorted(row["date"] for row in rows)
    return f"{'; '.join(sorted(facts))}; {len(rows)} cells, {dates[0]} to {dates[-1]}"


def _markdown(sections: Sections, folder: Path) -> str:
    lines = ["# Benchmark report", ""]
    for title, parts in sections.items():
        lines += [f"## {title}", ""]
        for part in parts:
            match part:
                case pd.DataFrame():
                    lines += [_markdown_row(part.columns), _markdown_row(["---"] * len(part.columns))]
                    lines += [_markdown_row(row) for row in part.itertuples(index=False, name=None)]
                case Path():
                    lines.append(f"![{title}]({part.relative_to(folder)})")
                case _:
                    lines.append(part)
            lines.append("")
    return "\n".join(lines)


def _markdown_row(cells: Iterable[Any]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _html(sections: Sections, folder: Path) -> str:
    body = ["<h1>Benchmark report</h1>"]
    for title, parts in sections.items():
        body.append(f"<h2>{html.escape(title)}</h2>")
        for part in parts:
            match part:
                case pd.DataFrame():
                    body.append(part.to_html(index=False, border=0))
                case Path():
                    body.append(f'<img src="{part.relative_to(folder)}" alt="{html.escape(title)}">')
                case _:
                    body.append(f"<p>{html.escape(part)}</p>")
    head = f"<!doctype html><meta charset='utf-8'><title>Benchmark report</title><style>{_STYLE}</style>"
    return head + "\n".join(body)


def plot_suite(summary: pd.DataFrame, numbers: pd.DataFrame, path: Path) -> Path:
    """Draw one panel a task: a bar a model with its 95 % interval, dashed lines for the best published scores.

    ``summary`` is of one suite. Published scores are shown where the data are the official ones, with their protocol.
    """
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys(summary["task"]))
    names = list(dict.fromkeys(contestant(row) for row in summary.to_dict("records")))
    colours = {name: f"C{i % 10}" for i, name in enumerate(names)}
    num_rows = -(-len(tasks) // _COLUMNS)
    size = (5 * min(len(tasks), _COLUMNS), (1.5 + 0.28 * len(names)) * num_rows)
    figure = Figure(figsize=size, layout="constrained", dpi=130)
    panels = np.atleast_1d(figure.subplots(num_rows, min(len(tasks), _COLUMNS), squeeze=False)).ravel()
    for panel, task in zip(panels, tasks, strict=False):
        part = summary[summary["task"] == task]
        _bars(panel, part, colours)
        whole = (part["flags"] == "").all()
        panel.set_title(f"{task}{'' if whole else ' *'} ({part['metric'].iloc[0]})", fontsize=9)
        if whole:
            known = numbers[(numbers["task"] == task) & (numbers["metric"] == part["metric"].iloc[0])]
            for line, row in enumerate(known.nlargest(_PUBLISHED_SHOWN, "value").to_dict("records")):
                label = f"published: {row['model']}, {row['protocol']}"
                panel.axvline(row["value"], ls=("--", ":")[line], color="0.4", lw=1, label=label)
            if len(known):
                panel.legend(fontsize=6, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    for panel in panels[len(tasks) :]:
        panel.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial:
        figure.savefig(partial)
    return path


def _bars(panel: Any, part: pd.DataFrame, colours: dict[str, str]) -> None:
    rows = part.to_dict("records")[::-1]
    names = [contestant(row) for row in rows]
    panel.barh(names, [row["score"] for row in rows], color=[colours[name] for name in names], height=0.7)
    for height, row in enumerate(rows):
        if not np.isnan(row["low"]):
            panel.plot([row["low"], row["high"]], [height, height], color="k", lw=1)
    panel.tick_params(labelsize=6.5)
    lowest = min(part["low"].min(), part["score"].min())
    panel.set_xlim(min(0, lowest - _MARGIN), 1)
