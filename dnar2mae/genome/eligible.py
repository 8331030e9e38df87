"""Where windows may start: exact sets of starts under every rule, without trying windows one by one."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from dnar2mae.config import DataConfig
from dnar2mae.errors import SequenceError
from dnar2mae.genome.bed import read_bed
from dnar2mae.genome.intervals import Intervals, difference, intersection, intervals_of, size, union
from dnar2mae.genome.store import Genome


@dataclass(frozen=True, kw_only=True, slots=True)
class Eligible:
    """The windows of one genome that keep all rules."""

    starts: Intervals
    """Intervals of window starts in concatenated coordinates."""
    report: dict[str, int]
    """Starts there were, starts each rule removed, starts left; sequences shorter than a window."""


def eligible_starts(
    genomes: Sequence[Genome], intervals: Sequence[Intervals], config: DataConfig
) -> tuple[Eligible, ...]:
    """Find the windows that lie in these intervals and keep the rules on regions and unknown bases.

    A window lies wholly in one interval and, if ``config.include`` is given, wholly in one of its (merged)
    regions, where a region shorter than a window counts as the window around its centre; it touches no region
    of ``config.exclude``; and at most ``max_n_share * window_bp`` of its bases are unknown.

    Parameters
    ----------
    genomes
        The genomes.
    intervals
        Allowed intervals of each genome in concatenated coordinates, each inside one sequence.
    config
        ``window_bp``, ``include``, ``exclude`` and ``max_n_share`` are used.

    Raises
    ------
    SequenceError
        No window is left in any genome; the message says which rule removed how many.
    """
    window = config.window_bp
    include = read_bed(config.include, genomes) if config.include is not None else None
    exclude = read_bed(config.exclude, genomes) if config.exclude is not None else None
    # in decimals: 0.29 of 100 is 29, not 28.999...
    most_n = int(Decimal(str(config.max_n_share)) * window)
    eligible = []
    for i, genome in enumerate(genomes):
        starts = intervals_of(intervals[i][:, 0], intervals[i][:, 1] - window + 1)
        report = {"short_sequences": int((genome.lengths < window).sum()), "possible": size(starts)}
        rules = [("max_n_share", difference, rich_in_n(genome.n_runs, window, most_n))]
        if exclude is not None:
            touching = union(intervals_of(exclude[i][:, 0] - window + 1, exclude[i][:, 1]))
            rules.insert(0, ("exclude", difference, touching))
        if include is not None:
            rules.insert(0, ("include", intersection, _inside(include[i], genome, window)))
        # include, exclude, max_n_share: each counts what it removes of the starts that those before it left
        for name, operation, other in rules:
            before, starts = size(starts), operation(starts, other)
            report[f"removed_by_{name}"] = before - size(starts)
        eligible.append(Eligible(starts=starts, report=report | {"eligible": size(starts)}))
    if not any(len(part.starts) for part in eligible):
        raise SequenceError(_nothing_left(genomes, eligible, config))
    return tuple(eligible)


def rich_in_n(n_runs: Intervals, window_bp: int, most_n: int) -> Intervals:
    """Find the starts of windows with more than ``most_n`` unknown bases.

    The number of unknown bases in ``[s, s + L)`` is piecewise linear in ``s``: its slope rises by one where
    the window's end enters a run or its start leaves one, and falls by one where its end leaves a run or
    its start enters one.

    Parameters
    ----------
    n_runs : int64 [R, 2]
        Sorted, disjoint runs of unknown bases.
    window_bp
        Window length L.
    most_n
        Largest number allowed.

    Returns
    -------
    int64 [K, 2]
        Sorted, disjoint intervals of starts.
    """
    run_starts, run_ends = n_runs.T
    at = np.concatenate([run_starts - window_bp, run_ends - window_bp, run_starts, run_ends])
    change = np.repeat([1, -1, -1, 1], len(n_runs))
    order = np.argsort(at, kind="stable")
    at, slope = at[order], np.cumsum(change[order])[:-1]
    length = np.diff(at)
    # unknown bases of the window at each segment's start
    first = np.cumsum(slope * length) - slope * length
    left, right = at[:-1], at[1:]
    rising = np.clip(most_n - first + 1, 0, length)
    falling = np.clip(first - most_n, 0, length)
    flat = np.where(first > most_n, length, 0)
    return union(
        intervals_of(
            np.where(slope > 0, left + rising, left),
            np.where(slope > 0, right, left + np.where(slope < 0, falling, flat)),
        )
    )


def _inside(regions: Intervals, genome: Genome, window: int) -> Intervals:
    start, end = regions.T
    sequence = genome.sequence_of(start)
    # a short region at an end of its sequence is widened to the other side
    first, last = genome.offsets[sequence], genome.offsets[sequence + 1] - window
    centred = np.clip(start - (window - (end - start)) // 2, first, np.maximum(first, last))
    is_short = end - start < window
    return union(intervals_of(np.where(is_short, centred, start), np.where(is_short, centred + 1, end - window + 1)))


def _nothing_left(genomes: Sequence[Genome], eligible: Sequence[Eligible], config: DataConfig) -> str:
    total = {name: sum(part.report[name] for part in eligible) for name in eligible[0].report}
    if not total["possible"]:
        longest = max(int(genome.lengths.max()) for genome in genomes)
        return (
            f"no window of {config.window_bp} bp fits: {total['short_sequences']} sequences are shorter, and "
            f"the longest has {longest} bp, of which validation takes a part; lower --data.window-bp"
        )
    removed = ", ".join(
        f"--data.{name.removeprefix('removed_by_').replace('_', '-')} removed {count}"
        for name, count in total.items()
        if name.startswith("removed_by_") and count
    )
    return f"no window of {config.window_bp} bp is left of {total['possible']}: {removed}; loosen that rule"
