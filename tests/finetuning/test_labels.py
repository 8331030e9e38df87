import numpy as np
import pandas as pd
import pytest

from dnar2mae.errors import ConfigError, DataError
from dnar2mae.finetuning.labels import read_labels

RNG = np.random.default_rng(0)


def read(columns, kind="auto"):
    table = pd.DataFrame({name: [str(value) for value in values] for name, values in columns.items()})
    return read_labels(table, tuple(columns), kind, "t.csv")


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ({"a": ["x", "y"] * 20}, "classes"),
        ({"a": [0, 1] * 20}, "classes"),
        ({"a": [1, 2, 3] * 20}, "classes"),
        ({"a": [0, 1] * 20, "b": [1, 0] * 20}, "labels"),
        ({"a": RNG.normal(size=50)}, "numbers"),
        ({"a": [0.5, 1] * 20, "b": [1, 0] * 20}, "numbers"),
        ({"a": RNG.poisson(4, 300)}, "counts"),
        ({"a": [-1, 1] * 20}, "numbers"),
        ({"a": [0, 7] * 20, "b": [3, 0] * 20}, "counts"),
    ],
)
def test_the_kind_of_target_follows_from_the_values(columns, kind):
    assert read(columns).kind == kind


def test_a_class_may_be_called_none():
    assert read({"a": ["none", "promoter"] * 10}).classes == ("none", "promoter")


def test_classes_are_sorted_and_numbered():
    labels = read({"a": ["10", "9", "2", "10", "9", "2"]}, "classes")
    assert labels.classes == ("2", "9", "10")
    assert labels.wanted[:, 0].tolist() == [2, 1, 0, 2, 1, 0]


@pytest.mark.parametrize(
    ("columns", "kind", "message"),
    [
        ({"a": [1.5, "", 2]}, "auto", r"t.csv: column a: row 2 has no value \(''\)"),
        ({"a": [1.5, "NaN", 2]}, "auto", "row 2 has no value"),
        ({"a": ["x", "y", "<NA>"]}, "auto", r"row 3 has no value \('<NA>'\)"),
        ({"a": ["x", "None", "y"]}, "auto", r"row 2 has no value \('None'\)"),
        ({"a": [1, 1, 1]}, "auto", "column a: all rows have '1': there is nothing to learn"),
        ({"a": [1.5, 2, "high", 3]}, "auto", r"column a: row 3: expected a number, got 'high'"),
        ({"a": ["inf", "1", "2"]}, "numbers", "expected a number, got 'inf'"),
        ({"a": [0, 1, 2]}, "labels", "expected 0 or 1, got '2'"),
        ({"a": [0, 1.5]}, "counts", "expected a whole number from 0 up, got '1.5'"),
        ({"a": range(40)}, "classes", "40 different values on 40 rows are no classes"),
    ],
)
def test_unusable_labels_are_refused(columns, kind, message):
    with pytest.raises(DataError, match=message):
        read(columns, kind)


def test_several_columns_are_no_classes():
    with pytest.raises(ConfigError, match="--target classes takes one column, got a, b"):
        read({"a": ["x", "y"], "b": ["x", "y"]}, "classes")
