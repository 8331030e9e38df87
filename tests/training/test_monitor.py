import pytest

from dnar2mae.storage import progress
from dnar2mae.training.monitor import Monitor


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when the test says so."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress.ProgressBar, "tick", lambda self: None)
    return now


def test_time_left_includes_the_validations_to_come_and_the_last_one(tmp_path, capsys, clock):
    with Monitor(tmp_path, total_steps=100, validate_every=40, final_validations=10) as monitor:
        clock[0] += 8
        monitor.validation({"step": 0, "held_out": 1.9}, 8.0)
        clock[0] += 40
        monitor.train([{"step": 40, "loss": 1.5}])
        clock[0] += 6
        monitor.validation({"step": 40, "held_out": 1.8}, 6.0)
        clock[0] += 60
        monitor.train([{"step": 100, "loss": 1.25}])
        clock[0] += 6
        monitor.validation({"step": 100, "held_out": 1.7}, 6.0)
        monitor.begin("last validation", 6)
        monitor.advance()
        clock[0] += 36
        monitor.advance()
    # a step takes a second; of validations those at 40, 80 and 100 are to come, and the last, which is ten more
    assert capsys.readouterr().err.splitlines() == [
        "step  loss 1.500  held-out 1.9000  40/100 (40%)  1.0 a second  left 3 min",
        "step  loss 1.250  held-out 1.8000  100/100 (100%)  1.0 a second  left 66 s",
        "last validation  2/6 (33%)  100.0 an hour  left 2 min",
    ]


def test_a_short_run_has_the_line_of_its_last_step(tmp_path, capsys, clock):
    with Monitor(tmp_path, total_steps=20) as monitor:
        for step in (10, 20):
            clock[0] += 5
            monitor.train([{"step": step, "loss": 1.0}])
    assert capsys.readouterr().err == "step  loss 1.000  20/20 (100%)  10 s so far\n"
