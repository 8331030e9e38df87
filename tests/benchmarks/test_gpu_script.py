"""The GPU script: a bare checkout, parts that end badly, and rows that stay."""

import csv
import os
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from dnar2mae.benchmarks.figures.tables.speed import TOKENS, WIDTH
from dnar2mae.benchmarks.speed import gpu, rows
from dnar2mae.benchmarks.speed.end_to_end import OURS, THEIRS, EndToEndSettings, measure, random_genome
from dnar2mae.benchmarks.speed.parts import end_to_end, kernels
from dnar2mae.benchmarks.speed.parts.context import Context
from dnar2mae.benchmarks.speed.parts.profile import longest_gaps

pytestmark = pytest.mark.long


def python(code):
    return [sys.executable, "-c", code]


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_bare_checkout_imports_through_links(tmp_path):
    gpu.link(tmp_path)
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"}
    code = "import dnar2mae.kernels as k, dnar2mae.cli, tests.kernels.cases; print(k.__file__)"
    done = subprocess.run(python(code), env=env, cwd=gpu.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(tmp_path))


def test_wheels_are_importable_where_they_are_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "brought-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("brought.py", "answer = 42\n")
    site = tmp_path / "site"
    gpu.unpack([tmp_path], site)
    assert (site / "brought.py").read_text() == "answer = 42\n"


def test_the_script_itself_needs_no_package():
    line = [sys.executable, "-I", "-S", str(gpu.ROOT / "benchmarks/speed/gpu.py"), "--help"]
    assert "--wheels" in subprocess.run(line, capture_output=True, text=True, check=True).stdout


def test_all_limits_together_are_ten_minutes():
    assert sum(gpu.PARTS.values()) <= 600


@pytest.mark.parametrize(
    ("code", "state"),
    [("pass", "done"), ("raise SystemExit(1)", "failed"), ("import os; os.abort()", "failed")],
)
def test_how_a_part_ends(code, state):
    assert gpu.run_part(python(code), dict(os.environ), 60.0) == state


def test_a_part_that_hangs_is_ended_with_its_children(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "_GRACE_S", 0.2)
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    code = f"""
import subprocess, sys, pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", {child!r}])
pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(child.pid))
time.sleep(600)
"""
    assert gpu.run_part(python(code), dict(os.environ), 2.0) == "cut"
    pid = int((tmp_path / "pid").read_text())
    for _ in range(50):  # until init has reaped it
        if not is_running(pid) or "zombie" in Path(f"/proc/{pid}/status").read_text():
            break
        time.sleep(0.1)
    else:
        pytest.fail("the child lives on")


def test_rows_stay_when_the_script_is_told_to_stop(tmp_path):
    out = tmp_path / "out"
    line = [sys.executable, str(gpu.ROOT / "benchmarks/speed/gpu.py"), "--dry", "--parts", "environment,kernels"]
    with subprocess.Popen([*line, "--out", str(out)], stdout=subprocess.PIPE, text=True) as process:
        for _ in range(600):
            if (out / "checks.csv").exists() and (out / "checks.csv").read_text().count("\n") > 1:  # header and a row
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        text, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert f"== rows in {out}" in text
    with (out / "checks.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert found[0]["what"] == "version"
    assert {"device", "torch", "commit", "date"} <= set(found[0])


def test_unknown_parts_and_missing_files_are_named(capsys):
    for line, message in (
        (["--parts", "kernel"], "must be of environment, tests, kernels"),
        (["--genome", "/nowhere.fa"], "/nowhere.fa: no such file or folder"),
    ):
        with pytest.raises(SystemExit):
            gpu.main(line)
        assert message in capsys.readouterr().err


def test_without_a_gpu_nothing_is_measured(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu.main(["--out", str(tmp_path / "out")]) == 2
    assert "torch sees no CUDA GPU here; make gpu DRY=1" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_file_with_other_columns_is_left_alone(tmp_path):
    path = tmp_path / "x.csv"
    rows.append(path, {"a": 1, "b": "x,y"})
    rows.append(path, {"a": 2, "b": ""})
    with pytest.raises(ValueError, match="must have the columns a, c, got a, b"):
        rows.append(path, {"a": 1, "c": 2})
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [["a", "b"], ["1", "x,y"], ["2", ""]]


def test_a_failure_is_kept_and_what_follows_runs(tmp_path, capsys):
    context = Context(out=tmp_path, dry=True)
    with context.attempt("first"):
        raise RuntimeError("out of memory\nmore")
    with context.attempt("second"):
        context.append("x", {"a": 1})
    assert context.failures == ["first"]
    assert "first: RuntimeError: out of memory\n" in capsys.readouterr().out
    assert (tmp_path / "x.csv").exists()


def test_gaps_are_those_that_nothing_covers():
    spans = [("a", 0.0, 10.0), ("b", 12.0, 3.0), ("inside a", 2.0, 3.0), ("c", 14.0, 2.0), ("d", 20.0, 1.0)]
    events = [{"name": name, "ts": start, "dur": length} for name, start, length in spans]
    assert longest_gaps(events) == [(4, "c", "d"), (2, "a", "b")]
    assert longest_gaps(events, 1) == [(4, "c", "d")]


def test_what_readme_shows_is_measured_first():
    first = [(case.vocabulary, case.tokens, case.width, str(case.dtype)) for case in kernels.cases(dry=False)[:3]]
    assert first == [(v, TOKENS, WIDTH, "torch.bfloat16") for v in (8, 4104, 32_768)]


@pytest.mark.parametrize("compiled", [False, True])
def test_every_size_and_length_is_compared(compiled):
    plan = end_to_end.plan(dry=False, compiled=compiled)
    assert len({(s.preset, s.context, side) for s, side in plan}) == len(plan) == 3 * 2 * 2
    assert {s.compile for s, _ in plan} == {compiled}
    assert [side for _, side in plan[:2]] == [OURS, THEIRS]


def test_a_row_holds_the_rate_of_one_side(tmp_path):
    genome = random_genome(tmp_path, 20_000)
    settings = EndToEndSettings(context=16, batch=2, steps=1)
    row = measure(settings, OURS, genome, tmp_path)
    assert float(row["tokens_per_s"]) > 0
    assert (row["side"], row["preset"], row["context_tokens"], row["objective"]) == (OURS, "tiny", 16, "mlm")
    assert measure(replace(settings, objective="mae"), "mae", genome, tmp_path)["side"] == "mae"
