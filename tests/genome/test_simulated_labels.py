import json
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, r2_score, roc_auc_score

from dnar2mae.cli import main
from dnar2mae.errors import ConfigError
from dnar2mae.genome.alphabet import complement, decode, encode
from dnar2mae.genome.simulate.config import LabelsConfig
from dnar2mae.genome.simulate.labels import properties, simulate_labels

pytestmark = pytest.mark.long


def reverse_complement(sequence):
    return decode(complement(encode(sequence.encode())[::-1]))


@pytest.fixture(scope="module")
def numbers():
    return simulate_labels(LabelsConfig(num=3000, seed=1))


@pytest.fixture(scope="module")
def labels():
    return simulate_labels(LabelsConfig(kind="labels", num=3000, seed=1))


def test_properties_of_sequences_made_by_hand():
    assert properties("A" * 100) == {"number": 0, "spaced": 0, "central": 0}
    assert properties("GATAAGATAAG" + "A" * 50 + "CTTATC")["number"] == 3  # two that overlap, one reversed
    assert properties("GATAAG" * 5)["number"] == 3
    for gap, spaced in ((4, 0), (5, 1), (15, 1), (16, 0)):
        text = "TGACGTCA" + "A" * gap + "CCGGAAGT"
        assert properties(text)["spaced"] == properties(reverse_complement(text))["spaced"] == spaced
        assert properties("CCGGAAGT" + "A" * gap + "TGACGTCA")["spaced"] == spaced
    assert properties("A" * 47 + "CACGTG" + "A" * 47)["central"] == 1
    assert properties("CACGTG" + "A" * 94)["central"] == pytest.approx(0.06)
    assert properties("CACGTG" + "A" * 41 + "CACGTG" + "A" * 47)["central"] == 1


def test_numbers_are_the_formula_of_the_sequence_and_noise(numbers):
    table = numbers.table
    assert list(table) == ["sequence", "split", "value", "truth"]
    for row in table.head(200).itertuples():
        own, other = properties(row.sequence), properties(reverse_complement(row.sequence))
        assert own == pytest.approx(other)
        assert row.truth == pytest.approx(0.5 * own["number"] + 1.5 * own["spaced"] + 1.5 * own["central"], abs=1e-4)
    noise = table["value"] - table["truth"]
    assert abs(noise.mean()) < 0.05
    assert noise.std() == pytest.approx(0.5, rel=0.05)
    assert abs(np.corrcoef(noise, table["truth"])[0, 1]) < 0.05
    without = simulate_labels(LabelsConfig(num=200, noise=0.0))
    assert without.ceiling == pytest.approx({"r2": 1, "pearson": 1})


def test_labels_are_drawn_with_their_probabilities(labels):
    table = labels.table
    names = ["counted", "spaced", "centred"]
    assert list(table) == ["sequence", "split", *names, *(f"truth_{name}" for name in names)]
    for name, decides in zip(names, ("number", "spaced", "central"), strict=True):
        assert table[name].isin([0, 1]).all()
        found = [properties(sequence)[decides] for sequence in table["sequence"].head(100)]
        first, slope = (0.05, 0.3) if decides == "number" else (0.1, 0.8)
        np.testing.assert_allclose(table[f"truth_{name}"].head(100), first + slope * np.array(found), atol=1e-4)
        for _, part in table.groupby(pd.qcut(table[f"truth_{name}"], 4, duplicates="drop"), observed=True):
            spread = 4 * np.sqrt(0.25 / len(part))
            assert abs(part[name].mean() - part[f"truth_{name}"].mean()) < spread


def test_the_ceiling_is_the_truths_score_on_the_test_rows(numbers, labels):
    test = numbers.table[numbers.table["split"] == "test"]
    assert numbers.ceiling["r2"] == pytest.approx(r2_score(test["value"], test["truth"]))
    assert numbers.ceiling["pearson"] == pytest.approx(test[["value", "truth"]].corr().iloc[0, 1])
    test = labels.table[labels.table["split"] == "test"]
    for name in ("counted", "spaced", "centred"):
        auroc = roc_auc_score(test[name], test[f"truth_{name}"])
        assert labels.ceiling[f"auroc_{name}"] == pytest.approx(auroc)
        assert 0.75 < auroc < 0.95
        auprc = average_precision_score(test[name], test[f"truth_{name}"])
        assert labels.ceiling[f"auprc_{name}"] == pytest.approx(auprc)
    assert set(labels.ceiling) == {f"{s}_{n}" for s in ("auroc", "auprc") for n in ("counted", "spaced", "centred")}


def test_every_property_varies_and_splits_have_their_shares(numbers):
    table = numbers.table
    found = pd.DataFrame([properties(sequence) for sequence in table["sequence"]])
    assert set(found["number"]) == {0, 1, 2, 3}
    assert 0.4 < found["spaced"].mean() < 0.6
    both = table["sequence"].str.contains("TGACGTCA") & table["sequence"].str.contains("CCGGAAGT|ACTTCCGG")
    assert both.mean() > 0.9  # neither word alone tells whether they are spaced
    assert 0.2 < (found["central"] == 0).mean() < 0.5
    assert table["split"].value_counts(normalize=True).to_dict() == pytest.approx(
        {"train": 0.8, "dev": 0.1, "test": 0.1}, abs=0.03
    )
    assert table["sequence"].str.fullmatch("[ACGT]{200}").all()


@pytest.mark.parametrize("length_bp", [100, 101, 137, 1000])
def test_any_length_has_every_property(length_bp):
    table = simulate_labels(LabelsConfig(num=300, length_bp=length_bp)).table
    assert (table["sequence"].str.len() == length_bp).all()
    found = pd.DataFrame([properties(sequence) for sequence in table["sequence"]])
    assert (found.max() >= [3, 1, 0.9]).all()
    assert 0.2 < found["spaced"].mean() < 0.8


def test_a_seed_gives_one_table():
    first, again, other = (simulate_labels(LabelsConfig(num=100, seed=seed)).table for seed in (5, 5, 6))
    pd.testing.assert_frame_equal(first, again)
    assert not (first["sequence"] == other["sequence"]).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num": 99}, "--num must be at least 100, got 99"),
        ({"length_bp": 99}, r"--length-bp must be in \[100, 100000\]"),
        ({"noise": -1.0}, "--noise must be at least 0"),
        ({"gc": 0.9}, r"--gc must be in \[0.3, 0.6\]"),
        ({"seed": -1}, "--seed must be in"),
        ({"kind": "labels", "noise": 0.5}, "--noise is of --kind numbers"),
    ],
)
def test_settings_that_break_a_rule(settings, message):
    with pytest.raises(ConfigError, match=message):
        LabelsConfig(**settings)


def test_command_line(tmp_path, capsys):
    out = tmp_path / "new" / "t.csv"
    argv = ["simulate", "labels", "--kind", "labels", "--num", "300", "--seed", "2", "--out", str(out)]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    expected = simulate_labels(LabelsConfig(kind="labels", num=300, seed=2))
    pd.testing.assert_frame_equal(pd.read_csv(out), expected.table)
    assert re.search(r"Wrote .*t.csv: \d+ train, \d+ dev, \d+ test", printed)
    assert f"Noise ceiling, test rows: auroc_counted {expected.ceiling['auroc_counted']:.4f}" in printed
    assert main(argv) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*argv, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ceiling"] == pytest.approx(expected.ceiling)
    assert main([*argv[:-1], str(tmp_path / "t.txt")]) == 2
    assert "--out must be a name that ends in .csv" in capsys.readouterr().err
