import subprocess

import pytest

from dnar2mae.benchmarks.speed import rows


@pytest.mark.parametrize(
    ("changed", "commit"), [((), "abc"), (("results/a.csv",), "abc"), (("results/a.csv", "speed/a.py"), "abc-dirty")]
)
def test_rows_that_were_appended_do_not_make_a_commit_another(tmp_path, monkeypatch, changed, commit):
    for name in ("results/a.csv", "speed/a.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("before")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *command], check=True)
    for name in changed:
        (tmp_path / name).write_text("after")
    monkeypatch.setattr(rows, "__file__", str(tmp_path / "speed" / "rows.py"))
    monkeypatch.setattr(rows, "environment", lambda: {"commit": "abc-dirty" if changed else "abc"})
    assert rows.stamp()["commit"] == commit
    assert rows.stamp("given")["commit"] == "given"
