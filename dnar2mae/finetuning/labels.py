"""Labels as numbers: which kind of target the values of columns are, and what is wrong with them."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from dnar2mae.errors import ConfigError, DataError

_MOST_CLASSES, _LEAST_ROWS, _LEAST_SHARE = 30, 10, 0.005
"""Different whole numbers up to which a column is of classes, if the rarest has so many rows and such a share of them:
counts have rare large values."""

_EMPTY = ("", "nan", "NaN", "NAN", "na", "NA", "N/A", "<NA>", "None", "NaT")
"""How tables write that there is no value; "none" may be a class, the other one."""


class ReadLabels(NamedTuple):
    """Labels of all rows of a table."""

    kind: str
    """Kind of target."""
    why: str
    """Reason for the kind, for the reader."""
    wanted: Float[np.ndarray, "N C"]
    """Values, or for classes the number of the class."""
    classes: tuple[str, ...] = ()
    """Names of the classes, sorted."""


def read_labels(table: pd.DataFrame, columns: tuple[str, ...], kind: str, where: str) -> ReadLabels:
    """Read the labels of a table, whose values are texts.

    Parameters
    ----------
    table
        Has a row a sample.
    columns
        The label columns.
    kind
        Kind of target, or ``auto``.
    where
        File, for messages.

    Raises
    ------
    DataError
        If a column has an empty value, text among numbers, one value only, or a value that the kind does not allow.
    ConfigError
        If the kind does not fit the number of columns.
    """
    texts = table[list(columns)].astype(str).apply(lambda column: column.str.strip())
    for name in columns:
        _check_filled(texts[name], name, where)
    numbers = texts.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    if kind == "auto":
        kind, why = _infer(texts, numbers, where)
    else:
        why = f"--target {kind}"
    if kind == "classes":
        return ReadLabels(kind, why, *_classes(texts, columns, where))
    _check_numbers(texts, numbers, kind, where)
    return ReadLabels(kind, why, numbers)


def _check_filled(column: pd.Series, name: str, where: str) -> None:
    empty = np.flatnonzero(column.isin(_EMPTY))
    if empty.size:
        more = f", nor have {empty.size - 1:,} others" if empty.size > 1 else ""
        raise DataError(
            f"{where}: column {name}: row {empty[0] + 1} has no value ({column.iloc[empty[0]]!r}){more}: "
            "every row needs a label"
        )
    if column.nunique() < 2:
        raise DataError(f"{where}: column {name}: all rows have {column.iloc[0]!r}: there is nothing to learn")


def _infer(texts: pd.DataFrame, numbers: np.ndarray, where: str) -> tuple[str, str]:
    """Return the kind of target that values look like, and why."""
    is_number = np.isfinite(numbers)
    if len(texts.columns) == 1 and is_number.mean() < 0.5:
        return "classes", f"{texts.iloc[:, 0].nunique()} different texts"
    _check_numbers(texts, numbers, "numbers", where)
    whole = (numbers == np.round(numbers)).all() and (numbers >= 0).all()
    distinct = len(np.unique(numbers))
    if not whole:
        return "numbers", "values with fractions or below 0"
    if distinct <= 2 and set(np.unique(numbers)) <= {0, 1}:
        return ("classes", "0 and 1") if numbers.shape[1] == 1 else ("labels", "several columns of 0 and 1")
    rarest = np.unique(numbers, return_counts=True)[1].min()
    if numbers.shape[1] == 1 and distinct <= _MOST_CLASSES and rarest >= max(_LEAST_ROWS, _LEAST_SHARE * len(numbers)):
        if numbers.max() - numbers.min() == distinct - 1 and numbers.min() <= 1:
            return "classes", f"whole numbers from {numbers.min():.0f} to {numbers.max():.0f}, each on many rows"
    return "counts", "whole numbers from 0 up"


def _classes(
    texts: pd.DataFrame, columns: tuple[str, ...], where: str
) -> tuple[Float[np.ndarray, "N 1"], tuple[str, ...]]:
    if len(columns) > 1:
        raise ConfigError(f"--target classes takes one column, got {', '.join(columns)}; several are --target labels")
    column = texts[columns[0]]
    names = column.unique()
    if len(names) > len(column) // 2:
        raise DataError(
            f"{where}: column {columns[0]}: {len(names):,} different values on {len(column):,} rows are no classes"
        )
    numbers = pd.to_numeric(pd.Series(names), errors="coerce")
    is_number = numbers.notna().all()
    if is_number and numbers.duplicated().any():
        same = names[(numbers == numbers[numbers.duplicated()].iloc[0]).to_numpy()]
        raise DataError(f"{where}: column {columns[0]}: {' and '.join(same)} are one number; write it in one way")
    classes = tuple(sorted(names, key=float if is_number else str))
    ids = {name: number for number, name in enumerate(classes)}
    return column.map(ids).to_numpy(np.float64)[:, None], classes


def _check_numbers(texts: pd.DataFrame, numbers: np.ndarray, kind: str, where: str) -> None:
    """Refuse text among numbers, and numbers that a kind does not allow."""
    rules = {
        "numbers": (np.isfinite(numbers), "a number"),
        "labels": (np.isin(numbers, (0, 1)), "0 or 1"),
        "counts": (np.isfinite(numbers) & (numbers >= 0) & (numbers == np.round(numbers)), "a whole number from 0 up"),
    }
    fits, rule = rules[kind]
    if not fits.all():
        row, column = np.argwhere(~fits)[0]
        others = int((~fits).sum()) - 1
        name, value = texts.columns[column], texts.iloc[row, column]
        more = f", and so on in {others:,} more" if others else ""
        raise DataError(
            f"{where}: column {name}: row {row + 1}: expected {rule}, got {value!r}{more} (--target {kind})"
        )
