"""Plots of a run."""

import json
from pathlib import Path
from typing import Any


def plot_run(metrics_file: Path, summary: dict[str, Any], path: Path) -> None:
    """Draw training and held-out loss by step, and the held-out loss by mask ratio.

    Parameters
    ----------
    metrics_file
        ``metrics.jsonl`` of a run.
    summary
        Its summary: ``unit``, ``yardstick``, ``curve``.
    path
        PNG, SVG or PDF to write.
    """
    from matplotlib.figure import Figure

    rows = [json.loads(line) for line in metrics_file.read_text().splitlines()]
    train = [(r["step"], r[summary["unit"].replace(" ", "_")]) for r in rows if r["event"] == "train"]
    held_out = [(r["step"], r["held_out"]) for r in rows if r["event"] == "validation"]
    figure = Figure(figsize=(10, 4), layout="constrained", dpi=150)
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    if train:
        steps, losses = zip(*train, strict=True)
        left.plot(steps, _smooth(losses), color="0.6", lw=1, label="training (under the run's mask law)")
    if held_out:
        left.plot(*zip(*held_out, strict=True), color="C0", marker="o", ms=3, label="held out, mask ratio 0.15")
    for number, (name, value) in enumerate(sorted(summary["yardstick"].items(), key=lambda item: item[1])):
        left.axhline(value, color="C3", lw=1, ls="--" if number == 0 else ":", label=f"{name}: {value:.3f}")
        if number == 1:
            break
    left.set(xlabel="step", ylabel=summary["unit"], title="Loss")
    left.legend(fontsize=8, frameon=False)
    ratios, losses = zip(*((float(r), v) for r, v in summary["curve"].items()), strict=True)
    right.plot(ratios, losses, marker="o", ms=4)
    right.set(xlabel="mask ratio", ylabel=summary["unit"], title="Held-out loss by mask ratio")
    figure.savefig(path)


def _smooth(values: tuple[float, ...], window: int = 25) -> list[float]:
    """Trailing mean."""
    return [sum(part) / len(part) for i in range(len(values)) if (part := values[max(0, i - window + 1) : i + 1])]
