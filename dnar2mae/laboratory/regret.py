"""How far each law is behind the best one, and paired differences with what they can show."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from dnar2mae.laboratory.columns import LOWER_IS_BETTER
from dnar2mae.laboratory.plan import Law
from dnar2mae.scoring.intervals import Interval

MIN_SEEDS = 5
"""Seeds below which no interval is given: of fewer, Student's t allows none that would tell laws apart."""
POWER = 0.8
"""Probability with which a grid notices a difference of the size that it is said to detect."""
COLUMN = ["setting", "measure", "at"]
"""What names a column of a comparison."""


def is_fixed(law: Law) -> bool:
    """Return whether a law masks single tokens at one fixed ratio."""
    return law.control is law and law.mask.placement == "independent"


def by_seed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the values of a column, a line a seed and a law beside the other; seeds that a law lacks are left out."""
    wide = table.pivot_table(index="seed", columns="law", values="value", sort=False)
    return wide.dropna()


def _sign(part: pd.DataFrame) -> int:
    """Return by what the values of a column are multiplied so that lower is better."""
    return 1 if part["measure"].iloc[0] in LOWER_IS_BETTER else -1


def t_interval(difference: Float[np.ndarray, " S"]) -> Interval:
    """Return the 95 % interval of a mean by Student's t; NaN below five values."""
    from scipy.stats import t

    mean, number = float(difference.mean()), len(difference)
    if number < MIN_SEEDS:
        return Interval(value=mean, low=np.nan, high=np.nan)
    half = float(t.ppf(0.975, number - 1) * difference.std(ddof=1) / number**0.5)
    return Interval(value=mean, low=mean - half, high=mean + half)


def detectable(sd: float, number: int) -> float:
    """Return the difference that a paired t-test of so many seeds notices with a probability of 80 %.

    ``sd`` is that of the differences of pairs; the usual approximation by two quantiles of Student's t.
    """
    from scipy.stats import t

    return float((t.ppf(0.975, number - 1) + t.ppf(POWER, number - 1)) * sd / number**0.5)


def regrets(table: pd.DataFrame, laws: Sequence[Law]) -> pd.DataFrame:
    """Return a row for each law in each column.

    Parameters
    ----------
    table
        Of ``compare.csv``.
    laws
        All laws.

    Returns
    -------
    DataFrame
        The column (``setting``, ``measure``, ``at``, ``unit``); ``law``, its mean ``value`` over ``seeds``; ``regret``:
        per cent by which it is behind the ``best`` law there; ``difference`` from the fixed ratio that is best there
        (``best_fixed``), ``low`` and ``high`` of its 95 % interval, and ``sd`` of the paired differences. No row
        if no seed was finished under all laws.
    """
    fixed = [law.name for law in laws if is_fixed(law)]
    rows: list[dict[str, Any]] = []
    for names, part in table.groupby(COLUMN, sort=False):
        wide, sign = by_seed(part), _sign(part)
        if wide.empty:
            continue
        means = wide.mean()
        best = str((sign * means).idxmin())
        there = [name for name in fixed if name in wide]
        best_fixed = (sign * means[there]).idxmin() if there else None
        for law in wide.columns:
            row = dict(zip(COLUMN, names, strict=True)) | {"unit": part["unit"].iloc[0], "law": law}
            row |= {"seeds": len(wide), "value": means[law], "best": best}
            row["regret"] = 100 * sign * (means[law] - means[best]) / abs(means[best]) if means[best] else np.nan
            if best_fixed is not None:
                difference = (wide[law] - wide[best_fixed]).to_numpy()
                interval = t_interval(difference)
                row |= {"best_fixed": best_fixed, "difference": interval.value}
                row |= {"low": interval.low, "high": interval.high}
                row["sd"] = float(difference.std(ddof=1)) if len(wide) > 1 and law != best_fixed else np.nan
            rows.append(row)
    return pd.DataFrame(rows or None, columns=None if rows else [*COLUMN, "unit", "law", "seeds", "value", "regret"])


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Return the mean and the worst regret of each law over all columns, the lowest mean first.

    The line ``best fixed`` is what one would have by knowing the best fixed ratio of each column.

    Returns
    -------
    DataFrame
        ``mean``, ``worst``, ``where`` (the column of the worst), then the mean regret by measure.
    """
    oracle = found[found["law"] == found.get("best_fixed")].assign(law="best fixed")
    every = pd.concat([found, oracle]) if len(oracle) else found
    lines: dict[str, dict[str, Any]] = {}
    for law, part in every.groupby("law", sort=False):
        values = part["regret"].to_numpy()
        worst = part.iloc[int(values.argmax())]
        line = {"mean": values.mean(), "worst": values.max()}
        line["where"] = " ".join(str(worst[name]) for name in COLUMN if worst[name] != "")
        lines[str(law)] = line | {
            str(measure): own["regret"].mean() for measure, own in part.groupby("measure", sort=False)
        }
    return pd.DataFrame(lines).T.sort_values("mean")


def mean_differences(table: pd.DataFrame, laws: Sequence[Law]) -> pd.DataFrame:
    """Return how the laws' mean regrets differ from that of the one fixed ratio whose mean is lowest.

    A seed's regret is per cent of the best mean of a column; the mean is over the columns, and seeds are paired.

    Parameters
    ----------
    table
        Of ``compare.csv``.
    laws
        All laws.

    Returns
    -------
    DataFrame
        By law, the lowest first: ``mean``; ``against``, that fixed ratio; ``difference``, ``low`` and ``high`` of its
        95 % interval over seeds. Empty without a fixed ratio, or without a seed that has all columns.
    """
    parts = []
    for _, part in table.groupby(COLUMN, sort=False):
        wide, sign = by_seed(part), _sign(part)
        best = sign * (sign * wide.mean()).min()
        parts.append(100 * sign * (wide - best) / abs(best))
    found = pd.concat(parts).groupby(level=0)
    of_seed = found.mean()[found.size() == len(parts)]
    fixed = [law.name for law in laws if is_fixed(law) and law.name in of_seed]
    if of_seed.empty or not fixed:
        return pd.DataFrame()
    against = str(of_seed[fixed].mean().idxmin())
    rows = {}
    for law in of_seed.mean().sort_values().index:
        interval = t_interval((of_seed[law] - of_seed[against]).to_numpy())
        rows[law] = {"mean": of_seed[law].mean(), "against": against, "difference": interval.value}
        rows[law] |= {"low": interval.low, "high": interval.high}
    return pd.DataFrame.from_dict(rows, orient="index")


def power(found: pd.DataFrame) -> pd.DataFrame:
    """Return, for each setting and measure, the difference that the comparison detects.

    The sd is the root mean square over laws and columns of that of their paired differences from the best fixed ratio.
    Empty below five seeds.
    """
    known = found[found["seeds"] >= MIN_SEEDS].dropna(subset=["sd"]) if "sd" in found else found.iloc[:0]
    rows = []
    for (setting, measure), part in known.groupby(["setting", "measure"], sort=False):
        sd, number = float((part["sd"] ** 2).mean() ** 0.5), int(part["seeds"].min())
        rows.append(
            {"setting": setting, "measure": measure, "unit": part["unit"].iloc[0], "detects": detectable(sd, number)}
        )
    return pd.DataFrame(rows)
