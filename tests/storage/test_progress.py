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
