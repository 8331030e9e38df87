"""Rows shared by two splits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from dnar2mae.benchmarks.rows.contract import LabelledData


@dataclass(frozen=True, kw_only=True, slots=True)
class Duplicates:
    """Test rows that another split has too."""

    exact: Bool[np.ndarray, " N"]
    """Which rows occur there as they are."""
    reverse: Bool[np.ndarray, " N"]
    """Which rows occur there only as their reverse complement; none where rows have one strand."""
    opposite: Bool[np.ndarray, " N"]
    """Which exact ones have another label there."""
    distinct: int
    """Distinct rows among the exact ones."""


def find_duplicates(
    test: Sequence[Any],
    labels: Int[np.ndarray, " N"],
    others: Sequence[Any],
    other_labels: Int[np.ndarray, " M"],
    reader: LabelledData,
) -> Duplicates:
    """Compare the rows of the test split with those of another one, by the modality's key."""
    seen: dict[bytes, set[int]] = {}
    for row, label in zip(others, other_labels, strict=True):
        seen.setdefault(reader.key(row), set()).add(int(label))
    keys = [reader.key(row) for row in test]
    exact = np.array([key in seen for key in keys], bool)
    reversed_too = [reader.reverse is not None and reader.key(reader.reverse(row)) in seen for row in test]
    differs = [bool(seen.get(key, set()) - {int(y)}) for key, y in zip(keys, labels, strict=True)]
    return Duplicates(
        exact=exact,
        reverse=np.array(reversed_too, bool) & ~exact,
        opposite=np.array(differs, bool),
        distinct=len({key for key, is_exact in zip(keys, exact, strict=True) if is_exact}),
    )
