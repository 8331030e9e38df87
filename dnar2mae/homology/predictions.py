"""The score of predictions on test rows with a homologue in train, and on the others."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from dnar2mae.errors import ConfigError, raising
from dnar2mae.homology.files import column_of, read_table
from dnar2mae.scoring.intervals import Interval, score_rows

if TYPE_CHECKING:
    import pandas as pd

_PROBABILITIES = ("p{}", "p_{}", "probability_{}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """Predicted classes of the test rows."""

    classes: tuple[str, ...]
    truth: Int[np.ndarray, " N"]
    predicted: Int[np.ndarray, " N"]
    probabilities: Float[np.ndarray, "N C"] | None
    """None where the file has none of every class; there is no AUROC then."""

    def scores(self, rows: Bool[np.ndarray, " N"]) -> dict[str, Interval]:
        """Return MCC, accuracy and AUROC of some rows with 95 % intervals; none where there is no row."""
        truth, size = self.truth[rows], len(self.classes)
        if not len(truth):
            return {}
        named = {name: score_rows(name, truth, [self.predicted[rows]], size) for name in ("mcc", "accuracy")}
        if self.probabilities is not None:
            named["auroc"] = score_rows("auroc", truth, [self.probabilities[rows]], size)
        return {name: score.interval() for name, score in named.items()}

    def by_leakage(self, leaked: Bool[np.ndarray, " N"]) -> dict[str, dict[str, Interval]]:
        """Return the scores of all rows, of the leaked and of the clean ones."""
        groups = {"all": np.ones(len(leaked), bool), "leaked": leaked, "clean": ~leaked}
        return {name: self.scores(rows) for name, rows in groups.items()}


def read_predictions(
    path: Path, test: "pd.DataFrame", label: str = "label", predicted: str = "predicted"
) -> Predictions:
    """Read the predictions of the test rows, in their order, as ``benchmark run`` writes them.

    Probabilities are columns p0, p1, ... or ``probability_CLASS``, if there is one for each class.

    Parameters
    ----------
    path
        CSV, TSV or parquet file.
    test
        Other columns of the test file: the labels are taken from it, if it has them, else from the predictions.
    label, predicted
        Names of the columns of true and of predicted classes.

    Raises
    ------
    ConfigError
        A column is missing or has an empty value, there is another number of rows than in the test file, or only one
        class.
    """
    table = read_table(path)
    if len(table) != len(test):
        raise ConfigError(f"{path}: expected a row for each of the {len(test):,} test rows, got {len(table):,}")
    texts = {
        "label": column_of(test if label in test.columns else table, label, path).astype(str),
        "predicted": column_of(table, predicted, path).astype(str),
    }
    for name, values in texts.items():
        if (values == "").any():
            raise ConfigError(f"{path}: row {int((values == '').argmax()) + 1}: the {name} is empty")
    classes = sorted(set(texts["label"]) | set(texts["predicted"]), key=lambda name: (len(name), name))
    if len(classes) < 2:
        raise ConfigError(f"{path}: expected labels of two classes or more in {label}, got only {classes[0]}")
    ids = {name: i for i, name in enumerate(classes)}
    return Predictions(
        classes=tuple(classes),
        truth=texts["label"].map(ids).to_numpy(np.int64),
        predicted=texts["predicted"].map(ids).to_numpy(np.int64),
        probabilities=_probabilities(table, classes, path),
    )


def _probabilities(table: "pd.DataFrame", classes: list[str], path: Path) -> np.ndarray | None:
    for pattern in _PROBABILITIES:
        columns = [pattern.format(name) for name in classes]
        if set(columns) <= set(table.columns):
            with raising(ConfigError, f"{path}: probabilities must be numbers", ValueError):
                return table[columns].to_numpy(np.float64)
    return None


def score_lines(scores: Mapping[str, Mapping[str, Interval]], leaked: Bool[np.ndarray, " N"]) -> list[dict[str, str]]:
    """Return a line a group of rows: how many there are, and their scores with intervals."""
    counts = {"all": len(leaked), "leaked": int(leaked.sum()), "clean": int((~leaked).sum())}
    return [
        {"rows": name, "number": f"{counts[name]:,}"} | {score: str(interval) for score, interval in own.items()}
        for name, own in scores.items()
    ]
