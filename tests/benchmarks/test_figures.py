import re
import subprocess
from dataclasses import replace

import pytest

from dnar2mae.benchmarks.figures import __main__ as command
from dnar2mae.benchmarks.figures import figure as figures
from dnar2mae.benchmarks.figures import pages, pedigree
from dnar2mae.benchmarks.figures.figure import Figure, Listing, clear, clear_interval, difference, lines, pivot, where
from dnar2mae.benchmarks.figures.pages import listing_text, named, written
from dnar2mae.benchmarks.figures.pedigree import bare_code
from dnar2mae.benchmarks.figures.tables import FIGURES, LISTINGS
from dnar2mae.benchmarks.figures.tables.speed import _kernels

HEAD = "task,score,low,high,commit,device,date\n"


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A repository with code, a file of results at its commit, a page, and one figure."""

    def git(*words):
        line = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip()

    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "model.py").write_text('"""Words."""\nx = 1\n')
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "code")
    commit = git("rev-parse", "--short", "HEAD")
    (results / "scores.csv").write_text(f"{HEAD}a,0.5,0.4,0.6,{commit},cpu x1,2026-11-26\n")
    (tmp_path / "README.md").write_text("Above\n\n<!-- figures: scores -->\n<!-- end -->\n\nbelow\n")
    for module in (figures, pages, pedigree):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    for module in (figures, pedigree):
        monkeypatch.setattr(module, "RESULTS", results)
    monkeypatch.setattr(pedigree, "FILE", results / "pedigree.yaml")
    scores = Figure(
        name="scores",
        source="scores.csv",
        key=("task",),
        show=lines({"task": "{task}", "score": "{score:.2f} [{low}, {high}]"}),
        command="measure",
        files=("code/*.py",),
    )
    monkeypatch.setattr(command, "FIGURES", {"scores": scores})
    monkeypatch.setattr(command, "LISTINGS", {})
    return tmp_path


def append(tree, row):
    with (tree / "benchmarks/results/scores.csv").open("a") as file:
        file.write(row + "\n")


def commit_of(tree):
    return figures.read_rows(tree / "benchmarks/results/scores.csv")[0]["commit"]


def test_the_figures_of_this_tree_are_those_of_their_rows_and_no_older_than_their_code():
    assert command.check() == []


def test_every_figure_stands_on_a_page():
    shown = {name for page in pages.pages() for name in named(page.read_text())}
    of_listings = {line.name for name in shown & LISTINGS.keys() for line in LISTINGS[name].figures}
    assert FIGURES.keys() <= shown | of_listings
    assert shown <= FIGURES.keys() | LISTINGS.keys()


def test_bold_is_left_to_the_renderer():
    for module in (figures.ROOT / "benchmarks/figures/tables").glob("*.py"):
        assert "**{" not in module.read_text(), module
    assert clear("x", 0.1, 0.2, 2) == clear("x", -0.2, -0.1, 2) == "**x**"
    assert clear("x", -0.1, 0.2, 2) == clear("x", 0.00004, 0.2, 4) == "x"
    rows = [{"d": 0.04, "low": low, "high": 0.07} for low in (0.0001, 0.001)]
    shown = ["+0.040 [0.000, 0.070]", "**+0.040 [0.001, 0.070]**"]
    assert [clear_interval(row, "d", "low", "high") for row in rows] == shown
    assert difference(0.2, 0.1, 512) == "**0.200 ± 0.100**"
    assert difference(0.19, 0.1, 512) == "0.190 ± 0.100"
    assert difference(0.2, 0.1, 18) == "0.200 ± 0.100"  # 2.11 standard errors of 18 windows


def test_record_then_write_then_nothing_changes(tree):
    assert "no pedigree" in command.check()[0]
    command.main(["record"])
    assert command.check() == ["README.md: differs from its rows; run make figures"]
    command.main([])
    text = (tree / "README.md").read_text()
    expected = f"| a | 0.50 [0.4, 0.6] |\n\n`measure`; {commit_of(tree)}, cpu x1, 2026-11-26\n<!-- end -->\n\nbelow\n"
    assert text.endswith(expected)
    command.main([])
    assert (tree / "README.md").read_text() == text
    assert command.check() == []


def test_a_changed_file_turns_the_check_red_until_the_figure_is_marked_or_measured(tree):
    command.main(["record"])
    command.main([])
    code = tree / "code" / "model.py"
    code.write_text('"""Other words."""\nx = 1  # a remark\n')
    assert command.check() == []
    code.write_text("x = 2\n")
    assert command.check()[0].startswith("scores: older than code/*.py")
    with pytest.raises(SystemExit, match=r"older than code/\*\.py"):
        command.main([])
    command.main(["record"])  # the digest is that of the rows' commit, so recording again does not hide it
    assert "older than" in command.check()[0]
    command.main(["mark", "--why", "x is 2 since"])
    command.main([])
    assert "(*older than its code: x is 2 since*)" in (tree / "README.md").read_text()
    code.write_text("x = 1\n")
    command.main(["record", "scores"])
    command.main([])
    assert "older" not in (tree / "README.md").read_text()


def test_a_commit_with_the_same_numbers_may_stand_for_that_of_the_rows(tree):
    (tree / "code" / "model.py").write_text("x = 3 - 2\n")
    line = ["git", "-C", str(tree), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*line, "commit", "-qam", "form"], check=True)
    later = subprocess.run([*line, "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True)
    command.main(["record"])
    assert "older than" in command.check()[0]
    command.main(["record", "scores", "--equal", "HEAD"])  # the page names the commit
    command.main([])
    assert f"; the same numbers at {later.stdout.strip()}" in (tree / "README.md").read_text()
    with pytest.raises(SystemExit, match="git rev-parse"):
        command.main(["record", "scores", "--equal", "0000000"])
    with pytest.raises(SystemExit, match="--equal needs the names of the figures"):
        command.main(["record", "--equal", "HEAD"])


def test_a_new_row_must_be_recorded_and_takes_the_place_of_the_old_one(tree):
    command.main(["record"])
    command.main([])
    append(tree, f"a,0.75,0.7,0.8,{commit_of(tree)},gpu,2026-11-27")
    assert "record scores" in command.check()[0]
    command.main(["record", "scores"])
    command.main([])
    text = (tree / "README.md").read_text()
    assert "| a | 0.75 [0.7, 0.8] |" in text
    assert "gpu, 2026-11-27" in text
    assert "0.50" not in text


def test_a_table_edited_by_hand_is_found(tree):
    command.main(["record"])
    command.main([])
    page = tree / "README.md"
    page.write_text(page.read_text().replace("0.50", "0.60"))
    assert command.check() == ["README.md: differs from its rows; run make figures"]


def test_an_unknown_commit_an_unknown_name_and_a_mark_without_words_are_refused(tree):
    append(tree, "b,0.5,0.4,0.6,1234567,cpu,2026-11-26")
    with pytest.raises(SystemExit, match="error: git show .*1234567"):
        command.main(["record"])
    with pytest.raises(SystemExit, match="error: no figure is named other; there are scores"):
        command.main(["record", "other"])
    with pytest.raises(SystemExit, match="error: mark needs --why"):
        command.main(["mark", "scores"])


def test_a_renamed_file_is_named_in_one_line(tree):
    command.main(["record"])
    (tree / "code" / "model.py").rename(tree / "model.py")
    with pytest.raises(SystemExit, match=r"error: no file is named code/\*\.py"):
        command.main(["check"])


def test_a_declaration_without_rows_columns_or_files_is_found(tree):
    scores = command.FIGURES["scores"]
    with pytest.raises(ValueError, match=r"scores: no row of scores\.csv is chosen"):
        replace(scores, choose=where(task="z")).rows()
    (tree / "benchmarks/results/scores.csv").write_text("task,commit\na,1\n")
    with pytest.raises(ValueError, match=r"scores\.csv must have the columns device, date"):
        scores.rows()
    with pytest.raises(ValueError, match=r"no file is named code/\*\.cu"):
        pedigree.tree_digest("code/*.cu")
    with pytest.raises(ValueError, match="<!-- figures: other -->: there is no such figure"):
        written("<!-- figures: other --><!-- end -->", {}, {}, {})


def test_a_figure_within_a_line_and_a_listing(tree):
    command.main(["record"])
    entries = pedigree.load()
    only = replace(command.FIGURES["scores"], show=lambda rows: f"{rows[0]['score']}", what="what")
    text = written("is <!-- figures: scores --><!-- end -->.", {"scores": only}, {}, entries)
    assert text == "is <!-- figures: scores -->0.5<!-- end -->."
    table = listing_text(Listing(name="all", figures=(only,)), entries).splitlines()
    assert table[2] == f"| what | 0.5 | `measure` | {commit_of(tree)}, cpu x1, 2026-11-26 |"


def test_rows_of_the_last_commit_alone(tree):
    append(tree, "b,0.5,0.4,0.6,1234567-dirty,cpu,2026-11-26")
    append(tree, "c,0.5,0.4,0.6,1234567,cpu,2026-11-26")
    rows = replace(command.FIGURES["scores"], only_last_commit=True).rows()
    assert [row["task"] for row in rows] == ["b", "c"]


def test_pivot_takes_the_last_row_of_a_place_and_shows_a_dash_for_none():
    rows = [{"task": "a", "kind": "x", "v": 1}, {"task": "a", "kind": "x", "v": 2}, {"task": "b", "kind": "y", "v": 3}]
    table = pivot("task", "task", "kind", "{v}", {"x": "X", "y": "Y"})(rows).splitlines()
    assert table == ["| task | X | Y |", "|---|---|---|", "| a | 2 | - |", "| b | - | 3 |"]


def test_bare_code_keeps_strings_that_are_no_docstrings():
    source = b'"""Doc."""\n\n\ndef f(x):  # why\n    """Doc\n\n    more."""\n    return "# no comment"\n'
    assert bare_code(source) == b'def f(x):\n    return "# no comment"'
    assert bare_code(b"x = 1\n") != bare_code(b"x = 2\n")


def test_the_table_of_kernels_says_what_is_owed():
    shape = {"op": "masked_embedding", "vocabulary": 8, "gb_per_s": 3600.0, "copy_gb_per_s": 4000.0}
    ours = shape | {"backend": "triton", "mode": "forward", "ms_p50": 0.1}
    table = _kernels([ours, shape | {"backend": "eager", "mode": "forward", "ms_p50": 0.5}])
    assert "| masked_embedding | 8 | 0.1 | 90% | 5.0x | owed | owed |" in table


def test_pages_have_every_marker_closed():
    for page in pages.pages():
        text = page.read_text()
        assert len(re.findall("<!-- figures: ", text)) == text.count("<!-- end -->") == len(named(text)), page
