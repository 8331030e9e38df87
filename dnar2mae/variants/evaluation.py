"""How well scores agree with what is known of variants: groups told apart, or numbers in order."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dnar2mae.errors import ConfigError
from dnar2mae.scoring.intervals import Interval, evaluate_groups
from dnar2mae.variants.files import Record, Variants

_FEWEST = 4  # numbers, for an interval of a correlation


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """An INFO field or a column that sorts variants into two groups, to see how well scores tell them apart."""

    field: str
    """Its name. An INFO flag counts as 1 where it is set and as 0 elsewhere."""
    positive: tuple[str, ...] = ("1",)
    """Its values for variants expected to have low scores (harmful ones)."""
    negative: tuple[str, ...] = ("0",)
    """Its values for the others; variants with any other value are left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """An INFO field or a column with a number for each variant, such as its effect in a reporter assay."""

    field: str
    """Its name; variants without a number are left out."""


class Evaluation:
    """Scores of alleles beside what is known of them.

    Parameters
    ----------
    known
        What is known; None: nothing.
    """

    def __init__(self, known: Labels | Measured | None) -> None:
        self.known = known
        self.groups: dict[bool, list[float]] = {True: [], False: []}
        self.pairs: list[tuple[float, float]] = []

    def add(self, variants: Variants, record: Record, ratios: Float[np.ndarray, " A"]) -> None:
        """Add the scores of a record's alleles, NaN where there is none."""
        if self.known is None:
            return
        for allele, ratio in enumerate(ratios.tolist()):
            value = None if np.isnan(ratio) else variants.label(record, self.known.field, allele)
            if isinstance(self.known, Measured):
                number = _number(value)
                self.pairs += [] if number is None else [(ratio, number)]
            elif value in self.known.positive or value in self.known.negative:
                self.groups[value in self.known.positive].append(-ratio)  # harmful ones score low: high when negated

    def require_enough(self) -> None:
        """Raise a ``ConfigError`` where there are too few alleles for a measure."""
        if isinstance(self.known, Measured) and len(self.pairs) < _FEWEST:
            raise ConfigError(
                f"--correlate {self.known.field} needs at least {_FEWEST} scored variants with a number, "
                f"got {len(self.pairs)}"
            )
        if isinstance(self.known, Labels) and not (self.groups[True] and self.groups[False]):
            raise ConfigError(
                f"--evaluate {self.known.field} needs scored variants with values of --positive "
                f"({', '.join(self.known.positive)}) and of --negative ({', '.join(self.known.negative)}), "
                f"got {len(self.groups[True])} and {len(self.groups[False])}"
            )

    def metrics(self) -> dict[str, Interval]:
        """Return AUROC and AUPRC of the negative score for groups, Spearman's correlation for numbers."""
        self.require_enough()
        if self.known is None:
            return {}
        if isinstance(self.known, Measured):
            return {"Spearman": spearman(*np.array(self.pairs).T)}
        positives, negatives = self.groups[True], self.groups[False]
        is_positive = np.arange(len(positives) + len(negatives)) < len(positives)
        return evaluate_groups(np.array(positives + negatives), is_positive)


def spearman(first: Float[np.ndarray, " N"], second: Float[np.ndarray, " N"]) -> Interval:
    r"""Return the rank correlation of at least 4 pairs; NaN where one side has a single value.

    The interval is :math:`\tanh(\tanh^{-1} r \pm 1.96 \sqrt{(1 + r^2 / 2) / (N - 3)})`.

    References
    ----------
    .. [1] Bonett, Wright, "Sample size requirements for estimating Pearson, Kendall and Spearman correlations",
       Psychometrika 65 (2000), 23-28.
    """
    from scipy.stats import rankdata

    ranks = np.stack([rankdata(first), rankdata(second)])
    ranks -= ranks.mean(1, keepdims=True)
    scale = np.sqrt((ranks**2).sum(1).prod())
    if scale == 0:
        return Interval(value=np.nan, low=np.nan, high=np.nan)
    value = float(np.clip(ranks.prod(0).sum() / scale, -1, 1))
    half = 1.959964 * np.sqrt((1 + value**2 / 2) / (len(first) - 3))
    centre = np.arctanh(np.clip(value, -1 + 1e-12, 1 - 1e-12))
    return Interval(value=value, low=float(np.tanh(centre - half)), high=float(np.tanh(centre + half)))


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if np.isfinite(number) else None
