import re
import sys

import pytest

from .__main__ import _verdict, main

KEEP = "import pathlib, sys; pathlib.Path('fasta/crash-1').write_text('x'); sys.exit(77)"


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("import time; time.sleep(1)", None),
        ("", "NOT FUZZED to the end: exit code 0 after few of 100 s"),
        ("import sys; sys.exit(1)", "NOT FUZZED to the end: exit code 1 after few of 100 s"),
        (KEEP, "see fasta/crash-1"),
    ],
)
def test_a_target_that_ends_early_is_no_finding_and_no_success(tmp_path, monkeypatch, code, verdict):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "fasta"
    folder.mkdir()
    # 100 s are not waited for: on a busy machine a process may take a second to start
    found = _verdict([sys.executable, "-c", code], folder, 100 if verdict else 1)
    assert (found and re.sub(r"after \d+ of", "after few of", found)) == (
        verdict and verdict.replace("fasta/", f"{folder}/")
    )


def test_a_target_that_cannot_be_imported_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fuzz", "nonsense", "--seconds", "1", "--out", str(tmp_path)])
    assert main() == 1
    assert "nonsense: NOT FUZZED to the end: exit code 1" in capsys.readouterr().err
