import json

import numpy as np
import pandas as pd
import pytest

from dnar2mae.cli import main
from tests.homology.planted import mutated, random_sequences

TRAIN = random_sequences(0, 100, 120)
LEAKED = [mutated(TRAIN[i], 0.85, i) for i in range(20)]
CLEAN = random_sequences(1, 30, 120)


@pytest.fixture
def files(tmp_path):
    """A training set, and a test set of which the first 20 of 50 rows are leaked."""
    pd.DataFrame({"sequence": TRAIN}).to_csv(tmp_path / "train.csv", index=False)
    test = pd.DataFrame({"sequence": LEAKED + CLEAN, "label": [0, 1] * 25})
    test.to_csv(tmp_path / "test.csv", index=False)
    return tmp_path


def audited(capsys, *argv):
    code = main(["audit", *map(str, argv)])
    return code, *capsys.readouterr()


def test_leaked_rows_are_counted_and_written(files, capsys):
    code, printed, _ = audited(capsys, files / "train.csv", files / "test.csv", "--out", files / "rows.csv")
    assert code == 0
    assert "40.00%" in printed
    rows = pd.read_csv(files / "rows.csv", index_col="row")
    assert rows["homologue_70"].tolist() == [1] * 20 + [0] * 30
    assert rows["train_row"][:20].tolist() == list(range(20))


@pytest.mark.parametrize("layout", ["tsv", "parquet", "fa", "csv.gz"])
def test_every_format_gives_the_same(files, layout, capsys):
    table = pd.DataFrame({"sequence": TRAIN})
    path = files / f"train.{layout}"
    match layout:
        case "parquet":
            table.to_parquet(path)
        case "fa":
            path.write_text("".join(f">{i}\n{letters}\n" for i, letters in enumerate(TRAIN)))
        case _:
            table.to_csv(path, sep="\t" if layout == "tsv" else ",", index=False)
    code, printed, _ = audited(capsys, path, files / "test.csv", "--json")
    assert code == 0
    counts = json.loads(printed)
    assert (counts["train_rows"], counts["test_rows"], counts["exact"]) == (100, 50, 0)
    assert [level["rows"] for level in counts["levels"]] == [20, 20, 0]


def test_more_leakage_than_allowed_is_exit_code_1(files, capsys):
    given = (files / "train.csv", files / "test.csv", "--fail-above")
    assert audited(capsys, *given, 0.39)[0] == 1
    assert audited(capsys, *given, 0.41)[0] == 0
    assert audited(capsys, *given, 0.39, "--leaked-at", 0.95)[0] == 0


def test_scores_of_leaked_and_of_clean_rows(files, capsys):
    truth = np.array([0, 1] * 25)
    predicted = np.where(np.arange(50) < 20, truth, 1 - truth)  # all right where leaked, else all wrong
    table = pd.DataFrame({"predicted": predicted, "p0": 1.0 - predicted, "p1": predicted * 1.0})
    table.to_csv(files / "predictions.csv", index=False)
    given = (files / "train.csv", files / "test.csv", "--predictions", files / "predictions.csv")
    scores = json.loads(audited(capsys, *given, "--json")[1])["scores"]
    assert [scores[rows]["accuracy"]["value"] for rows in ("all", "leaked", "clean")] == [0.4, 1, 0]
    assert [scores[rows]["mcc"]["value"] for rows in ("leaked", "clean")] == [1, -1]
    assert scores["leaked"]["auroc"]["low"] < scores["leaked"]["auroc"]["value"] == 1
    assert "clean" in audited(capsys, *given)[1]
    table.drop(columns="p0").to_csv(files / "predictions.csv", index=False)
    assert set(json.loads(audited(capsys, *given, "--json")[1])["scores"]["all"]) == {"mcc", "accuracy"}


BAD = {
    "empty": ('sequence\nACGT\n""\n', "bad.csv: row 2: the sequence is empty"),
    "letters": ("sequence\nACGT\nAC-T\n", "bad.csv: row 2, position 3: expected a nucleotide letter, got '-'"),
    "column": ("seq,label\nACGT,1\n", "bad.csv: expected a column named sequence, got seq, label"),
    "no row": ("sequence\n", "bad.csv: expected at least one sequence, got none"),
    "nothing": ("", "bad.csv: cannot be read: No columns to parse from file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(files, name, capsys):
    content, message = BAD[name]
    (files / "bad.csv").write_text(content)
    code, _, error = audited(capsys, files / "train.csv", files / "bad.csv")
    assert code == 2
    assert error.strip().endswith(message)
    assert error.count("\n") == 1


def test_what_cannot_be_compared(files, capsys):
    train, test = files / "train.csv", files / "test.csv"

    def error(*argv):
        code, _, line = audited(capsys, *argv)
        assert code == 2
        return line

    assert "TRAIN and TEST must be two files, got" in error(train, train)
    assert "--out must not write over an input" in error(train, test, "--out", test)
    assert "--leaked-at must be in (0, 1], got 1.5" in error(train, test, "--leaked-at", 1.5)
    assert "--identities must be in (0, 1], got 0.0" in error(train, test, "--identities", 0.0)
    (files / "table.txt").write_text("sequence,label\nACGT,1\n")
    assert "table.txt: no FASTA record; tables end in .csv, .tsv, .parquet" in error(files / "table.txt", test)
    assert "nowhere.csv: cannot be read: No such file" in error(train, files / "nowhere.csv")
    pd.DataFrame({"predicted": [1] * 49}).to_csv(files / "p.csv", index=False)
    predictions = ("--predictions", files / "p.csv")
    assert "expected a row for each of the 50 test rows, got 49" in error(train, test, *predictions)
    pd.DataFrame({"predicted": [1] * 50}).to_csv(files / "p.csv", index=False)
    assert "p.csv: expected a column named truth, got predicted" in error(train, test, *predictions, "--label", "truth")
    assert "p.csv: expected a column named class, got predicted" in error(
        train, test, *predictions, "--predicted", "class"
    )
    pd.DataFrame({"predicted": ["1"] * 50, "label": "1"}).to_csv(files / "p.csv", index=False)
    test_only = pd.DataFrame({"sequence": LEAKED + CLEAN})
    test_only.to_csv(files / "bare.csv", index=False)
    assert "expected labels of two classes or more in label, got only 1" in error(
        train, files / "bare.csv", *predictions
    )


def test_the_tasks_of_a_suite(tmp_path, capsys):
    (tmp_path / "suite.yaml").write_text(
        "name: mine\ntitle: Mine\nsource: here\nfolder: mine\n"
        "tasks:\n  whole: {sizes: [100, 10, 50]}\n  no_train: {}\n  absent: {}\n"
    )
    parts = {"train": TRAIN, "dev": CLEAN[:10], "test": LEAKED + CLEAN}
    for task, names in (("whole", ("train", "dev", "test")), ("no_train", ("dev", "test"))):
        (tmp_path / task).mkdir()
        for name in names:
            table = pd.DataFrame({"sequence": parts[name], "label": [i % 2 for i in range(len(parts[name]))]})
            table.to_csv(tmp_path / task / f"{name}.csv", index=False)
    code = main(["benchmark", "audit", str(tmp_path), "--out", str(tmp_path / "out.csv"), "--fail-above", "0.3"])
    printed = capsys.readouterr().out
    assert code == 1
    assert "Skipped absent: no data in" in printed
    assert "no_train: no train split: compared with dev" in printed
    rows = pd.read_csv(tmp_path / "out.csv", index_col="task")
    assert rows["at_70"].to_dict() == {"whole": 0.4, "no_train": 0.2}
    assert rows["exact"].to_dict() == {"whole": 0, "no_train": 0.2}
    assert main(["benchmark", "audit", str(tmp_path), "--tasks", "whole", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["task"] == "whole"
    out = ["--out", str(tmp_path / "none.csv")]
    assert main(["benchmark", "audit", str(tmp_path), "--tasks", "absent", *out]) == 2
    assert not (tmp_path / "none.csv").exists()
