import json
import subprocess
import sys

import pandas as pd
import pytest

from dnar2mae.cli import main
from tests.finetuning.conftest import rich_rows, write_table
from tests.random_run import write_run


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "pretrained")


@pytest.fixture
def table(tmp_path):
    return write_table(tmp_path / "table.csv", rich_rows(100))


def test_finetune_and_predict(run, table, tmp_path, capsys):
    out = tmp_path / "tuned"
    line = ["finetune", str(run), "--data", str(table), "--out", str(out), "--epochs", "2", "--device", "cpu"]
    assert main(line) == 0
    printed = capsys.readouterr()
    assert "target: classes (no, yes), since: 2 different texts" in printed.err
    assert "split: by the column split: train 60, dev 20, test 20" in printed.err
    for name in ("this model", "k-mer counts", "random weights", "temperature"):
        assert name in printed.out
    names = {path.name for path in out.iterdir()}
    assert {"config.yaml", "backbone", "target.json", "metrics.jsonl", "summary.json", "loss.png"} < names
    assert {"checkpoints", "calibration.png", "environment.json", "data.sha256", "test_predictions.csv"} < names
    assert f"dnar2mae report {out} writes a page." in printed.out
    assert main([*line[:4], "--out", str(out)]) == 2
    assert "not empty; go on with --resume" in capsys.readouterr().err
    # a resumed run has its own settings
    assert main(["finetune", "--out", str(out), "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["finished"] is True
    assert main(["predict", str(out), str(table), "--out", str(tmp_path / "p.csv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 100
    assert "p_yes" in pd.read_csv(tmp_path / "p.csv").columns


def test_errors_are_one_line(run, table, tmp_path, capsys):
    assert main(["finetune", str(run), "--data", str(table), "--label", "none", "--out", str(tmp_path / "x")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["predict", str(run), str(table), "--out", str(tmp_path / "p.csv")]) == 2
    assert "no fine-tuned run here" in capsys.readouterr().err
    assert main(["finetune", str(run), "--data", str(table), "--layer-decay", "2", "--out", str(tmp_path / "x")]) == 2
    assert "--layer-decay must be in (0, 1], got 2.0" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["finetune", "predict"])
def test_help_needs_no_torch(command):
    code = (
        "import sys; from dnar2mae.cli import main\n"
        f"try: main(['{command}', '--help'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules; assert 'pandas' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--both-strands" in done.stdout
