import json
import math

import pytest

from dnar2mae.run import metrics
from dnar2mae.run.metrics import MetricsLog, read_metrics, rewind_metrics
from dnar2mae.run.result import RunResult, advice


def write(run, first, last, validate_every=10):
    log = MetricsLog(run)
    for step in range(first, last + 1):
        log.append("train", [{"step": step, "loss": 1.0 / step}])
        if step % validate_every == 0:
            log.append("validation", [{"step": step, "held_out": 2.0 / step}])
    log.close()


@pytest.fixture
def small_files(monkeypatch):
    monkeypatch.setattr(metrics, "_LIMIT", 1000)


def events(run):
    return [(row["event"], row["step"]) for row in read_metrics(run)]


def test_large_files_are_put_aside_and_read_together(tmp_path, small_files):
    write(tmp_path, 1, 100)
    files = sorted(file.name for file in tmp_path.iterdir())
    assert len(files) > 4
    assert files[-1] == "metrics.jsonl"
    assert all(file.stat().st_size < 1100 for file in tmp_path.iterdir())
    first = tmp_path / files[0]
    assert int(files[0][8:16]) == json.loads(first.read_text().splitlines()[-1])["step"]
    assert [step for event, step in events(tmp_path) if event == "train"] == list(range(1, 101))
    assert [step for event, step in events(tmp_path) if event == "validation"] == list(range(10, 101, 10))


@pytest.mark.parametrize("step", [-1, 0, 5, 10, 55, 60, 99, 100])
@pytest.mark.parametrize("validated", [True, False])
def test_a_run_that_goes_on_has_every_row_once(tmp_path, small_files, step, validated):
    write(tmp_path, 1, 100)
    whole = events(tmp_path)
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'5\n\xff\n{"event": "train", "st')
    rewind_metrics(tmp_path, step, validated=validated)
    rewind_metrics(tmp_path, step, validated=validated)  # as after a second interruption
    kept = events(tmp_path)
    assert kept == [row for row in whole if row[1] < step or (row[1] == step and (validated or row[0] == "train"))]
    if not validated and step % 10 == 0 and step > 0:
        log = MetricsLog(tmp_path)
        log.append("validation", [{"step": step, "held_out": 1.0}])
        log.close()
    write(tmp_path, max(step, 0) + 1, 100)
    assert events(tmp_path) == whole


def test_a_stop_between_the_two_halves_of_rewinding_loses_nothing(tmp_path, small_files, monkeypatch):
    write(tmp_path, 1, 100)
    whole = events(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.unlink", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        patch.setattr(metrics, "write_whole", lambda path, text: path.write_text(text))
        with pytest.raises(KeyboardInterrupt):
            rewind_metrics(tmp_path, 55, validated=True)
    rewind_metrics(tmp_path, 55, validated=True)
    assert events(tmp_path) == [row for row in whole if row[1] <= 55]


def test_numbers_that_are_not_finite_are_null(tmp_path):
    log = MetricsLog(tmp_path)
    log.append("train", [{"step": 1, "loss": math.nan}])
    log.close()
    assert read_metrics(tmp_path) == [{"event": "train", "step": 1, "loss": None}]


@pytest.mark.parametrize(
    ("best", "margin", "expected"),
    [
        ({"step": 200, "held_out": 1.9, "last": 2.3}, {}, "lowest at step 200 (1.9000) and has risen to 2.3000"),
        ({"step": 900, "held_out": 1.9, "last": 1.901}, {}, None),
        ({}, {}, None),
        (
            {"step": 900, "held_out": 1.9, "last": 1.9},
            {"x": {"below_by": -0.1, "standard_error": 0.01}},
            "Train longer, or on more data.",
        ),
        ({"step": 900, "held_out": 1.9, "last": 1.9}, {"x": {"below_by": -0.01, "standard_error": 0.01}}, None),
    ],
)
def test_a_run_says_what_to_do_next(best, margin, expected):
    said = advice(RunResult(out="run", steps=9, finished=True, parameters=1, seconds=1.0, best=best, margin=margin))
    assert (said is None) if expected is None else expected in said
