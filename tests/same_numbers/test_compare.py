from pathlib import Path

import pytest

from .cases import make_cases, write_data
from .compare import Finding, compare
from .worker import digest, perform


def ran(**numbers):
    return {"state": "ran", "message": "", "numbers": numbers}


def stopped(state, message):
    return {"state": state, "message": message, "numbers": {}}


LOSSES = [(1.5).hex(), (1.25).hex()]


@pytest.mark.parametrize(
    ("old", "new", "verdict", "details"),
    [
        (ran(losses=LOSSES), ran(losses=LOSSES), "equal", "2 losses"),
        (
            ran(losses=LOSSES),
            ran(losses=[LOSSES[0], (1.25 + 2**-52).hex()]),
            "DIFFERS",
            "losses, number 2 of 2: 1.25 and 1.25, by 2.2e-16",
        ),
        (ran(losses=LOSSES), ran(losses=LOSSES[:1]), "DIFFERS", "losses: 2 and 1 of them"),
        (ran(losses=LOSSES, scores=LOSSES), ran(losses=LOSSES), "DIFFERS", "scores: 2 and 0 of them; equal 2 losses"),
        (ran(weights=[digest(b"a")]), ran(weights=[digest(b"b")]), "DIFFERS", "weights, number 1 of 1"),
        (stopped("refused", "no"), stopped("refused", "not here"), "refused", "not here"),
        (stopped("refused", "no"), ran(losses=LOSSES), "DIFFERS", "refused no | ran"),
        (stopped("failed", "bug"), stopped("failed", "bug"), "DIFFERS", "failed bug | failed bug"),
    ],
)
def test_results_are_compared_bit_by_bit(old, new, verdict, details):
    assert compare({"run": old}, {"run": new}) == [Finding("run", verdict, details)]


def test_a_case_of_one_side_differs():
    assert compare({"a": ran()}, {"b": ran()}) == [
        Finding("a", "DIFFERS", "a case of one side only"),
        Finding("b", "DIFFERS", "a case of one side only"),
    ]


@pytest.fixture
def cases(tmp_path, monkeypatch):
    """All cases by name, to be run in a folder of their own."""
    pytest.importorskip("anndata")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    write_data(tmp_path / "data")
    listed = make_cases(tmp_path / "data")
    named = {case["name"]: case for case in listed}
    outputs = {case["out"] for case in listed if "out" in case}
    assert len(named) == len(listed)
    assert len(outputs) == sum("out" in case for case in listed)
    assert all(case["run"] in outputs and len(case["variants"]) == 100 for case in listed if "run" in case)
    return named


@pytest.mark.filterwarnings("ignore:.* has no effect")  # every model is given the same flags
def test_a_run_and_its_scores_come_as_exact_numbers(cases):
    result = perform(cases["dna, transformer, mlm"])
    assert (result["state"], result["message"]) == ("ran", "")
    assert {kind: len(values) for kind, values in result["numbers"].items()} == {
        "losses": 50,
        "held-out losses": 8,
        "weights": 17,
    }
    scores = perform(cases["variants by dna, transformer, mlm"])["numbers"]["scores"]
    assert len({float.fromhex(score) for score in scores}) > 90


@pytest.mark.filterwarnings("ignore:.* has no effect")  # every model is given the same flags
def test_what_is_refused_is_told_from_what_fails(cases):
    assert perform(cases["dna, cnn, mae"])["state"] == "refused"
    wrong = {**cases["dna, transformer, mlm"], "command": ["pretrain", "--no-such-flag", "--out", "x"]}
    result = perform(wrong)
    assert result["state"] == "failed"
    assert "--no-such-flag" in result["message"]
    assert not Path("x").exists()
