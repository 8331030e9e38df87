import contextlib
import io
import time

import pytest

from dnar2mae.storage import progress
from dnar2mae.storage.progress import progress_bar


def on_a_terminal(monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)


def test_nothing_is_drawn_off_a_terminal_but_what_is_said(capsys):
    with progress_bar("work", 3, at_once=True) as bar:
        bar(1)
        bar.say("finished: [a]")
    assert capsys.readouterr().err == "finished: [a]\n"


def test_nothing_is_shown_where_nothing_shall_be(capsys, monkeypatch):
    on_a_terminal(monkeypatch)
    with progress_bar("work", 3, show=False, at_once=True) as bar:
        bar(1)
        bar.say("x")
    assert capsys.readouterr().err == ""


def test_quick_work_has_no_bar(capsys, monkeypatch):
    on_a_terminal(monkeypatch)
    with progress_bar("work", 3) as bar:
        bar(3)
    assert capsys.readouterr().err == ""


def test_a_bar_tells_how_much_of_what_is_done(capsys, monkeypatch):
    on_a_terminal(monkeypatch)
    monkeypatch.setattr(progress, "_DELAY_S", -1.0)
    with progress_bar("work [1]", None) as bar:
        bar(1, total=7)
        bar.advance()
        bar(2, title="more work")
    shown = capsys.readouterr().err
    assert "work [1]" in shown
    assert "more work" in shown
    assert "2/7" in shown


def test_steps_add_up_to_the_total_at_most(monkeypatch):
    shown = []
    with progress_bar("work", 5) as bar:
        monkeypatch.setattr(progress.ProgressBar, "__call__", lambda self, done: shown.append(done))
        bar.advance(3)
        monkeypatch.undo()
        bar(3)
        bar.advance(4)
        assert bar._completed == 5
    assert shown == [3]


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when the test says so."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_off_a_terminal_a_line_comes_every_half_minute_with_rate_and_time_left(capsys, clock):
    with progress_bar("work", 1000) as bar:
        for done in range(0, 110, 10):
            bar(done)
            clock[0] += 7
    assert capsys.readouterr().err.splitlines() == [
        "work  50/1,000 (5%)  1.4 a second  left 11 min",
        "work  100/1,000 (10%)  1.4 a second  left 10 min",
    ]


def test_bytes_are_shown_in_megabytes_and_slow_work_by_the_hour(capsys, clock):
    with progress_bar("Reading", 3_000_000_000, unit="B") as bar, progress_bar("cells", 40) as cells:
        bar(0)
        clock[0] += 40
        bar(1_000_000_000)
        cells(2)
        clock[0] += 7200
        cells(4)
    assert capsys.readouterr().err.splitlines() == [
        "Reading  1,000/3,000 MB (33%)  25.0 MB a second  left 80 s",
        "cells  2/40 (5%)  180.0 an hour  left 13 min",
        "cells  4/40 (10%)  2.0 an hour  left 18 h 6 min",
    ]


def test_what_was_done_before_is_no_part_of_the_rate(capsys, clock):
    with progress_bar("reading", None) as bar:
        clock[0] += 10
        bar(20, total=40, title="cells")
        clock[0] += 60
        bar(21)
    assert capsys.readouterr().err == "cells  21/40 (52%)  60.0 an hour  left 19 min\n"


def test_time_left_includes_what_follows(capsys, clock):
    bar = progress.ProgressBar("step", 100)
    bar.after_s = 3600
    clock[0] += 50
    bar(50)
    bar.pause(30)
    clock[0] += 30
    bar(100)
    bar.begin("last validation", 6)
    clock[0] += 30
    bar(0)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "step  50/100 (50%)  1.0 a second  left 61 min"
    assert lines[1] == "step  100/100 (100%)  2.0 a second  left 60 min"
    assert lines[2] == "last validation  0/6 (0%)  30 s so far"


def test_a_line_comes_without_updates_where_a_part_takes_long(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_LINE_S", 0.05)
    with progress_bar("fitting", None, at_once=True) as bar:
        time.sleep(0.3)
    said = capsys.readouterr().err
    assert 2 <= said.count("fitting  0 s so far\n") <= 6
    time.sleep(0.2)
    assert capsys.readouterr().err == ""
    del bar


def test_lines_go_where_stderr_was_when_the_work_began(capsys, clock):
    with progress_bar("runs", 2) as bar, contextlib.redirect_stderr(io.StringIO()) as log:
        clock[0] += 40
        bar(1)
    assert log.getvalue() == ""
    assert capsys.readouterr().err == "runs  1/2 (50%)  90.0 an hour  left 40 s\n"


def test_a_bar_within_a_bar_is_not_drawn(capsys, monkeypatch):
    on_a_terminal(monkeypatch)
    with progress_bar("outer", 3, at_once=True) as outer:
        with progress_bar("inner", 3, at_once=True) as inner:
            inner(1)
        outer(2)
    with progress_bar("later", 3, at_once=True) as later:
        later(1)
    shown = capsys.readouterr().err
    assert "inner" not in shown
    assert "outer" in shown
    assert "later" in shown
