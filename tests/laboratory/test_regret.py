import numpy as np
import pandas as pd
import pytest

from dnar2mae.laboratory.grid import LawGrid
from dnar2mae.laboratory.plan import parse_mask
from dnar2mae.laboratory.regret import by_seed, detectable, mean_differences, power, regrets, summary, t_interval
from dnar2mae.laboratory.report import write_report

LAWS = [parse_mask(name) for name in ("uniform:0.1,0.9", "fixed:0.2", "fixed:0.5")]


def table(values, measure="loss", at="0.5", setting="a", unit="bits"):
    """A row for each seed of each law."""
    return pd.DataFrame(
        {"setting": setting, "measure": measure, "at": at, "unit": unit, "law": law.name, "seed": seed, "value": value}
        for law, of_law in zip(LAWS, values, strict=True)
        for seed, value in enumerate(of_law)
    )


def test_regret_is_per_cent_of_the_best_of_a_column():
    losses = table([[2.0, 4.0], [2.1, 4.2], [3.0, 6.0]])
    scores = table([[0.8], [0.4], [0.6]], measure="labels", at="all", unit="accuracy")
    found = regrets(pd.concat([losses, scores]), LAWS).set_index(["measure", "law"])
    assert found["regret"].tolist() == pytest.approx([0, 5, 50, 0, 50, 25])
    assert found.loc["loss", "best"].unique().tolist() == ["uniform:0.1,0.9"]
    assert found.loc["loss", "best_fixed"].unique().tolist() == ["fixed:0.2"]
    assert found.loc["labels", "best_fixed"].unique().tolist() == ["fixed:0.5"]
    assert found.loc[("labels", "uniform:0.1,0.9"), "difference"] == pytest.approx(0.2)
    lines = summary(found.reset_index())
    assert lines.index.tolist() == ["uniform:0.1,0.9", "best fixed", "fixed:0.2", "fixed:0.5"]
    assert lines.loc["best fixed", "mean"] == pytest.approx((5 + 25) / 2)
    assert lines.loc["fixed:0.5", ["worst", "where"]].tolist() == [pytest.approx(50), "a loss 0.5"]
    assert lines.loc["fixed:0.2", "labels"] == pytest.approx(50)


def test_mean_regrets_are_paired_by_seed():
    losses = table([[2.0, 2.2, 2.0, 2.2, 2.1], [2.1, 2.1, 2.1, 2.1, 2.1], [4.2, 4.2, 4.2, 4.2, 4.2]])
    scores = table([[0.8] * 5, [0.4] * 5, [0.6] * 5], measure="labels", at="all", unit="accuracy")
    both = pd.concat([losses, scores])
    found = mean_differences(both, LAWS)
    assert found.index.tolist() == ["uniform:0.1,0.9", "fixed:0.2", "fixed:0.5"]
    assert found["mean"].tolist() == pytest.approx([0, 25, 62.5])  # as summary has them
    assert found["mean"].tolist() == pytest.approx(summary(regrets(both, LAWS)).loc[found.index, "mean"].tolist())
    assert set(found["against"]) == {"fixed:0.2"}
    # of a seed: half of the loss's 100 (x - 2.1) / 2.1, less half of the 50 per cent of the accuracy
    expected = t_interval(np.array([50 * (x - 2.1) / 2.1 - 25 for x in (2.0, 2.2, 2.0, 2.2, 2.1)]))
    low, high = found.loc["uniform:0.1,0.9", ["low", "high"]]
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert mean_differences(both[both["law"] == "uniform:0.1,0.9"], LAWS).empty
    assert np.isnan(mean_differences(both[both["seed"] < 4], LAWS)["low"]).all()


def test_only_seeds_that_all_laws_have_count():
    losses = table([[1.0, 9.0], [2.0, 2.0], [3.0, 3.0]])
    losses = losses[(losses["law"] != "fixed:0.5") | (losses["seed"] == 0)]
    assert by_seed(losses).index.tolist() == [0]
    found = regrets(losses, LAWS).set_index("law")
    assert found.loc["uniform:0.1,0.9", ["value", "seeds"]].tolist() == [1, 1]


def test_no_seed_under_all_laws_leaves_the_levels(tmp_path):
    """Two laws that failed with different seeds: what there is, is reported."""
    losses = table([[1.0, 9.0], [2.0, 2.0], [3.0, 3.0]])
    losses = losses[(losses["law"] != "fixed:0.2") | (losses["seed"] == 0)]
    losses = losses[(losses["law"] != "fixed:0.5") | (losses["seed"] == 1)]
    effort = {"rate": 1.0, "steps": 9, "tokens": 9, "encoder_tokens": 9, "mean_ratio": 0.5, "drawn_ratio": 0.5}
    grid = LawGrid(settings=(), laws=tuple(LAWS), seeds=(0, 1))
    write_report(losses.assign(**effort, seconds=1), grid, [], tmp_path)
    report = (tmp_path / "report.md").read_text()
    assert "No seed was finished under every law" in report
    assert "| `fixed:0.2` | 1 | 1 | 2.0000 |" in report
    assert (tmp_path / "compare.png").exists()
    assert pd.read_csv(tmp_path / "regret.csv").empty


def test_intervals_are_of_paired_differences_and_need_five_seeds():
    rng = np.random.default_rng(0)
    level = rng.normal(2, 0.5, 40)  # seeds differ by far more than laws
    values = [level + shift + rng.normal(0, 0.005, 40) for shift in (0.02, 0.0, 0.1)]
    found = regrets(table(values), LAWS).set_index("law")
    row = found.loc["uniform:0.1,0.9"]
    assert row["low"] < row["difference"] < row["high"]
    assert 0.015 < row["low"] < 0.02 < row["high"] < 0.025
    few = regrets(table([column[:4] for column in values]), LAWS)
    assert few[["low", "high"]].isna().all().all()
    assert power(few).empty
    interval = t_interval(np.arange(5.0))  # t of 4 degrees of freedom: 2.776; sd of the mean 1.5811 / sqrt(5)
    assert interval.high == pytest.approx(2 + 2.776445 * 2.5**0.5 / 5**0.5, rel=1e-6)


def test_power_is_what_a_simulation_detects():
    """At the difference that is said to be detected, four tests in five find one."""
    rng = np.random.default_rng(0)
    size = detectable(0.01, 5)
    draws = rng.normal(size, 0.01, (4000, 5))
    hits = [abs(t_interval(row).value) > t_interval(row).high - t_interval(row).value for row in draws]
    assert np.mean(hits) == pytest.approx(0.8, abs=0.03)
    values = [np.tile([0.01, -0.01], 20) + 1.0, np.ones(40), np.full(40, 2.0)]
    known = power(regrets(table(values), LAWS)).iloc[0]
    sd = (
        np.std(np.tile([0.01, -0.01], 20), ddof=1) / 2**0.5
    )  # fixed:0.5 differs by a constant from the best fixed ratio
    assert known["detects"] == pytest.approx(detectable(sd, 40))


def test_a_comparison_without_a_fixed_ratio_has_no_differences():
    laws = [parse_mask("fixed:0.2/spans:3"), parse_mask("fixed:0.5/spans:3")]
    losses = table([[1.0], [1.0], [2.0]]).replace({"fixed:0.2": laws[0].name, "fixed:0.5": laws[1].name})
    found = regrets(losses[losses["law"] != "uniform:0.1,0.9"], laws)
    assert "best_fixed" not in found
    assert summary(found).index.tolist() == [law.name for law in laws]
    assert power(found).empty
