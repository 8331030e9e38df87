"""Tables and a plot of held-out losses against what they cost, over recipes and seeds.

All take a table with a row a validation: ``genome``, ``recipe``, ``seed``, ``parameters``, and the fields of
:class:`dnar2mae.benchmarks.speed.readings.Reading`.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dnar2mae.plots.figure import new_figure, save_figure

COSTS = ["seconds", "cpu_seconds", "tokens", "flops"]
"""Columns of what a loss may be set against."""
_SHOWN = 2.02  # bits per base: beyond 2 a model is worse than one that knows nothing, and the plot leaves it out


def cost_of(run: pd.DataFrame, target: float) -> pd.Series:
    """Return ``COSTS`` when a run's loss first reached a target in bits per base, on lines between validations.

    NaN if the target was never reached.
    """
    losses, costs = run["held_out"].to_numpy(), run[COSTS].astype(float).reset_index(drop=True)
    reached = np.flatnonzero(losses <= target)
    if not len(reached):
        return pd.Series(math.nan, index=COSTS)
    last = int(reached[0])
    if last == 0:
        return costs.iloc[0]
    share = (losses[last - 1] - target) / (losses[last - 1] - losses[last])
    return costs.iloc[last - 1] + share * (costs.iloc[last] - costs.iloc[last - 1])


def end_table(frame: pd.DataFrame) -> str:
    """Return what the runs of each recipe end at: means over seeds, and the standard deviation of the loss."""
    ends = frame.groupby(["genome", "recipe", "seed"], sort=False).last()
    by_recipe = ends.groupby(["genome", "recipe"], sort=False)
    mean = by_recipe.mean(numeric_only=True)
    table = pd.DataFrame(
        {
            "parameters": mean["parameters"].round().astype(int),
            "steps": mean["step"].round().astype(int),
            "seconds": mean["seconds"].round(1),
            "cpu seconds": mean["cpu_seconds"].round(1),
            "Mtokens": (mean["tokens"] / 1e6).round(3),
            "tokens/s": (mean["tokens"] / mean["seconds"]).round().astype(int),
            "MFLOP/token": (mean["flops"] / mean["tokens"] / 1e6).round(2),
            "TFLOP": (mean["flops"] / 1e12).round(2),
            "loss at 0.15": mean["held_out"].round(4),
            "sd": by_recipe["held_out"].std().round(4),
            "area": mean["area"].round(4),
        }
    )
    return table.reset_index().to_string(index=False, na_rep="")


def target_table(frame: pd.DataFrame, targets: Sequence[float], against: str) -> str:
    """Return what each recipe takes to reach each target: means over the seeds that do, and lowest and highest seconds.

    ``frame`` has the validations of all runs, targets are in bits per base. The seconds of the recipe ``against``, if
    it was run, are divided by the others'.
    """
    lines = []
    for (genome, recipe), runs in frame.groupby(["genome", "recipe"], sort=False):
        others = frame[(frame["genome"] == genome) & (frame["recipe"] == against)]
        for target in targets:
            costs = pd.DataFrame([cost_of(run, target) for _, run in runs.groupby("seed", sort=False)])
            mean, reached = costs.mean(), costs["seconds"].dropna()
            line = {"genome": genome, "recipe": recipe, "to reach": target, "seeds": f"{len(reached)}/{len(costs)}"}
            line |= {"seconds": _text(mean["seconds"], ".1f"), "lowest": _text(reached.min(), ".1f")}
            line |= {"highest": _text(reached.max(), ".1f"), "cpu seconds": _text(mean["cpu_seconds"], ".1f")}
            line |= {"Mtokens": _text(mean["tokens"] / 1e6, ".3f"), "TFLOP": _text(mean["flops"] / 1e12, ".2f")}
            lines.append(line | {f"times as fast as {against}": times_as_fast(runs, others, target)})
    return pd.DataFrame(lines).to_string(index=False)


def _text(value: float, form: str) -> str:
    return "" if math.isnan(value) else format(value, form)


def times_as_fast(runs: pd.DataFrame, others: pd.DataFrame, target: float) -> str:
    """Return the geometric mean, over seeds, of others' seconds to a target by the runs' own.

    Where another run never reaches the target its whole time stands for it, and the result begins with ``>``. Empty if
    no seed has both, or the runs' own do not reach it.
    """
    logs, is_bound = [], False
    for seed, run in runs.groupby("seed"):
        other = others[others["seed"] == seed]
        own, theirs = cost_of(run, target)["seconds"], cost_of(other, target)["seconds"]
        if other.empty or not own > 0:  # NaN: never reached
            continue
        if math.isnan(theirs):
            theirs, is_bound = other["seconds"].iloc[-1], True
        logs.append(math.log(theirs / own))
    return f"{'>' if is_bound else ''}{math.exp(np.mean(logs)):.2f}" if logs else ""


def plot_losses(frame: pd.DataFrame, targets: Sequence[float], path: Path) -> None:
    """Draw the loss at mask ratio 0.15 against wall seconds: means over seeds, in a band from lowest to highest.

    Dotted lines are the targets.
    """
    genomes = list(frame.groupby("genome", sort=False))
    figure = new_figure(7.0 * len(genomes), 4.5)
    for axes, (genome, of_genome) in zip(figure.subplots(1, len(genomes), squeeze=False)[0], genomes, strict=True):
        trained = of_genome[of_genome["step"] > 0]  # no logarithm of 0 s
        for recipe, runs in trained.groupby("recipe", sort=False):
            by_step = runs.groupby("step")
            seconds, losses = by_step["seconds"].mean(), by_step["held_out"]
            (line,) = axes.plot(seconds, losses.mean(), marker="o", ms=3, label=recipe)
            axes.fill_between(seconds, losses.min(), losses.max(), color=line.get_color(), alpha=0.2, lw=0)
        if trained["held_out"].min() < _SHOWN:
            axes.set_ylim(top=min(axes.get_ylim()[1], _SHOWN))
        for target in targets:
            axes.axhline(target, color="0.7", lw=0.8, ls=":", zorder=0)
        axes.set(xscale="log", xlabel="seconds of training", ylabel="held-out bits per base, mask ratio 0.15")
        axes.set_title(genome, fontsize=10)
        axes.legend(fontsize=8, frameon=False)
    save_figure(figure, path)
