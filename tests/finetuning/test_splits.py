import numpy as np
import pandas as pd
import pytest

from dnar2mae.errors import ConfigError
from dnar2mae.finetuning import FinetuneConfig
from dnar2mae.finetuning.splits import SplitInput, divide, repeated_rows


def given(count=1000, *, columns=None, places=None, letters=None):
    table = pd.DataFrame(columns or {}, index=range(count))
    return SplitInput(table, [str(i // 2).encode() for i in range(count)], places, letters)


def regions(count=1000, length=100):
    starts = np.arange(count) * length
    return pd.DataFrame({"name": np.where(starts < 60_000, "one", "two"), "start": starts, "end": starts + length})


def blocks(places, edge, block_bp):
    return set((places["name"] + (places[edge] // block_bp).astype(str)).tolist())


def shares(of_rows):
    return {part: float((of_rows == part).mean()) for part in ("train", "dev", "test")}


def test_at_random_equal_samples_stay_together():
    division = divide(FinetuneConfig(split="random"), given())
    assert (division.of_rows[::2] == division.of_rows[1::2]).all()
    assert shares(division.of_rows) == pytest.approx({"train": 0.8, "dev": 0.1, "test": 0.1}, abs=0.05)
    assert repeated_rows(division.of_rows, given().contents) == 0
    other = divide(FinetuneConfig(split="random", seed=1), given())
    assert (other.of_rows != division.of_rows).any()


def test_by_a_column_whatever_dev_is_called():
    columns = {"split": ["train", "Valid", "test", "train"] * 250}
    division = divide(FinetuneConfig(), given(columns=columns))
    assert "by the column split" in division.how
    assert division.of_rows[:4].tolist() == ["train", "dev", "test", "train"]
    without = divide(FinetuneConfig(), given(columns={"split": ["train", "test"] * 500}))
    assert 0.03 < shares(without.of_rows)["dev"] < 0.08


def test_blocks_leave_out_regions_on_a_border_between_parts():
    places = regions(length=130)
    places["end"] -= 1
    division = divide(FinetuneConfig(), given(places=places))
    assert "by blocks of" in division.how
    block_bp = int(division.how.split("of ")[1].split(" bp")[0].replace(",", ""))
    for part in ("train", "dev", "test"):
        mine = places[division.of_rows == part]
        assert len(mine)
        other = places[(division.of_rows != part) & (division.of_rows != "")]
        assert not blocks(mine, "start", block_bp) & blocks(other, "end", block_bp)
    assert 0 < (division.of_rows == "").sum() < 50


def test_by_chromosome_with_and_without_names():
    config = FinetuneConfig(dev_names=("one",), test_names=("two",))
    with pytest.raises(ConfigError, match="no row for train"):
        divide(config, given(places=regions()))
    places = regions().assign(name=np.repeat([f"chr{i}" for i in range(10)], 100))
    division = divide(FinetuneConfig(split="chromosome"), given(places=places))
    assert shares(division.of_rows) == {"train": 0.8, "dev": 0.1, "test": 0.1}
    named = divide(FinetuneConfig(dev_names=("chr1",), test_names=("chr2", "chr3")), given(places=places))
    assert shares(named.of_rows) == {"train": 0.7, "dev": 0.1, "test": 0.2}
    few = regions().assign(name=np.repeat(["a", "b", "c"], [460, 300, 240]))
    division = divide(FinetuneConfig(split="chromosome"), given(places=few))
    assert shares(division.of_rows) == {"train": 0.46, "dev": 0.3, "test": 0.24}


def test_by_homology_relatives_are_on_one_side():
    pytest.importorskip("edlib")
    rng = np.random.default_rng(0)
    parents = ["".join(rng.choice(list("ACGT"), 120)) for _ in range(60)]
    letters = [parent[:i] + "A" + parent[i + 1 :] for parent in parents for i in (5, 60)]
    division = divide(FinetuneConfig(), given(120, letters=lambda: letters))
    assert "by homology" in division.how
    assert (division.of_rows[::2] == division.of_rows[1::2]).all()


@pytest.mark.parametrize(
    ("config", "data", "message"),
    [
        (FinetuneConfig(split="column"), given(), "no column split"),
        (FinetuneConfig(split_column="fold"), given(columns={"split": ["train"] * 1000}), "no column fold"),
        (
            FinetuneConfig(),
            given(columns={"split": ["train", "tset"] * 500}),
            "row 2: expected train, dev or test, got 'tset', and",
        ),
        (FinetuneConfig(), given(columns={"split": ["train"] * 999 + [""]}), "row 1000: expected .* got ''$"),
        (FinetuneConfig(split="blocks"), given(), "needs regions of a genome"),
        (FinetuneConfig(split="chromosome"), given(), "needs regions of a genome"),
        (FinetuneConfig(split="homology"), given(), "compares sequences of DNA"),
        (FinetuneConfig(test_names=("x",)), given(places=regions()), "--test-names x: no region there"),
    ],
)
def test_a_division_that_the_data_do_not_allow(config, data, message):
    with pytest.raises(ConfigError, match=message):
        divide(config, data)


def test_a_split_column_is_of_no_other_split():
    with pytest.raises(ConfigError, match="--split-column is of --split column, got random"):
        FinetuneConfig(split="random", split_column="fold")


def test_repeated_rows_are_counted():
    parts = np.array(["train", "dev", "test", "test"])
    assert repeated_rows(parts, [b"a", b"a", b"b", b"a"]) == 2


def test_names_of_sequences_are_known_with_and_without_chr():
    places = regions().assign(name=np.repeat(["chr1", "chr2", "chr3", "chrM"], 250))
    division = divide(FinetuneConfig(dev_names=("2",), test_names=("chr3", "MT")), given(places=places))
    assert "dev chr2, test chr3 chrM" in division.how
    assert (division.of_rows == np.repeat(["train", "dev", "test", "test"], 250)).all()
