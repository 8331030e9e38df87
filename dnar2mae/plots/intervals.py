"""Values with their intervals, in groups."""

from collections.abc import Mapping
from typing import Any

from dnar2mae.scoring.intervals import Interval


def draw_intervals(axes: Any, groups: Mapping[str, Mapping[str, Interval]]) -> None:
    """Draw a point with its 95 % interval for each score, group below group; a score has one colour in all groups."""
    colours = {score: f"C{number}" for number, score in enumerate(dict.fromkeys(s for g in groups.values() for s in g))}
    marks = dict(zip(colours, "oDs^v", strict=False))
    ticks, row = {}, 0.0
    for group, scores in groups.items():
        ticks[row + (len(scores) - 1) / 2] = group
        for score, interval in scores.items():
            label = score if group == next(name for name, others in groups.items() if score in others) else None
            axes.plot([interval.low, interval.high], [row, row], color=colours[score], lw=2)
            axes.plot([interval.value], [row], color=colours[score], ls="", marker=marks[score], ms=6, label=label)
            row += 1
        row += 0.7  # a gap between groups
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_ylim(row - 1.2, -0.5)  # the first group on top
    axes.legend(fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
