"""Bars of scores by task, with intervals and published numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dnar2mae.benchmarks.reporting.summary import contestant
from dnar2mae.storage.safe_files import written_whole

_COLUMNS = 3
_PUBLISHED_SHOWN = 2
_MARGIN = 0.05


def plot_suite(summary: pd.DataFrame, numbers: pd.DataFrame, path: Path) -> Path:
    """Draw one panel a task: a bar a model with its 95 % interval, dashed lines for the best published scores.

    Parameters
    ----------
    summary
        Of one suite, as :func:`dnar2mae.benchmarks.reporting.summary.summarise` returns it.
    numbers
        Published scores; shown where the data are the official ones, each with its protocol.
    path
        PNG, SVG or PDF to write.
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
