import csv
import json
import os
import signal
import threading
import time
from dataclasses import replace

import pytest

from dnar2mae.cli import main
from dnar2mae.config import PretrainConfig
from dnar2mae.errors import ConfigError, RunError
from dnar2mae.laboratory.compare import compare
from dnar2mae.laboratory.plan import CompareOptions, parse_mask, plan_cells
from tests.modalities.kinds import dna

pytestmark = pytest.mark.long

SMALL = [
    *("--data.window-bp", "64", "--batch-size", "4", "--validation-windows", "8", "--device", "cpu"),
    *("--model.width", "16", "--model.depth", "1", "--model.mlp-width", "16"),
]


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_two_laws_and_a_control_with_two_seeds(fasta, tmp_path, capsys):
    out = tmp_path / "lab"
    argv = ["compare", str(fasta), "--laws", "fixed:0.15", "uniform:0.05,0.5/spans:3", "--budget-tokens", "1024"]
    argv += ["--seeds", "2", "--out", str(out), *SMALL]
    assert main(argv) == 0
    printed = capsys.readouterr()
    assert "added, the fixed ratio at a law's mean: fixed:0.275/spans:3" in printed.err
    rows = table(out / "compare.csv")
    assert len(rows) == 3 * 2 * 8  # seven mask ratios, and the area under their curve
    assert {row["steps"] for row in rows} == {"4"}
    assert {row["tokens"] for row in rows} == {row["encoder_tokens"] for row in rows} == {"1024"}
    assert {row["placement"] for row in rows if row["law"] == "fixed:0.15"} == {"independent"}
    report = (out / "report.md").read_text()
    assert "| `uniform:0.05,0.5/spans:3` | `fixed:0.275/spans:3` |" in report
    assert (out / "compare.png").read_bytes().startswith(b"\x89PNG")
    untrained = {json.loads(p.read_text())["untrained"] for p in out.glob("runs/*/seed-1/summary.json")}
    assert len(untrained) == 1  # the same initial weights, judged on the same masks
    before = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*/summary.json")}
    argv.insert(argv.index("--budget-tokens"), "choice:0.1,0.2")
    assert main(argv) == 0
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    assert len(table(out / "compare.csv")) == 4 * 2 * 8  # the control of choice:0.1,0.2 is there
    assert main([*argv, "--optimizer.lr", "0.1"]) == 2
    assert "a resumed run must keep its settings: --optimizer.lr was" in capsys.readouterr().err


def small(tmp_path, **changes):
    return replace(dna(tmp_path), steps=4, checkpoint_every=2, **changes)


def test_workers_give_what_one_process_gives(tmp_path):
    config, laws = small(tmp_path), [parse_mask("fixed:0.2"), parse_mask("fixed:0.4/pmi:4")]
    one = compare(config, laws, tmp_path / "one", CompareOptions(seeds=(0,)))
    two = compare(config, laws, tmp_path / "two", CompareOptions(seeds=(0,), num_workers=2))
    assert one.table["value"].tolist() == two.table["value"].tolist()


def test_an_interrupted_comparison_goes_on_to_the_same_result(tmp_path):
    config, laws = small(tmp_path), [parse_mask("fixed:0.2"), parse_mask("uniform:0.1,0.5")]
    whole = compare(config, laws, tmp_path / "whole", CompareOptions(seeds=(3,)))
    out = tmp_path / "cut"

    def interrupt():
        while not list(out.glob("runs/*/*/checkpoints/step-*")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    long = replace(config, steps=40)
    killer = threading.Thread(target=interrupt)
    killer.start()
    cut = compare(long, laws, out, CompareOptions(seeds=(3,)))
    killer.join()
    assert not cut.finished
    assert not (out / "compare.csv").exists()
    assert compare(long, laws, out, CompareOptions(seeds=(3,))).finished
    again = compare(config, laws, tmp_path / "again", CompareOptions(seeds=(3,)))
    assert again.table["value"].tolist() == whole.table["value"].tolist()


def test_equal_encoder_tokens_under_mae(tmp_path):
    config = small(tmp_path)
    config = replace(config, model=replace(config.model, objective="mae"))
    laws = [parse_mask("fixed:0.2"), parse_mask("fixed:0.6")]
    options = CompareOptions(seeds=(0,), budget_tokens=10_000, equal="encoder-tokens")
    low, high = plan_cells(config, laws, tmp_path, options, sample_tokens=64)
    assert (low.config.steps, high.config.steps) == (24, 49)
    options = CompareOptions(seeds=(0,), budget_tokens=2048, equal="encoder-tokens")
    found = compare(config, laws, tmp_path / "lab", options).table.drop_duplicates("law")
    assert found["steps"].tolist() == [5, 10]
    assert found["encoder_tokens"].tolist() == [2048, 2048]
    with pytest.raises(ConfigError, match="--equal encoder-tokens needs --model.objective mae"):
        plan_cells(dna(tmp_path), laws, tmp_path, options, sample_tokens=64)


def test_bad_settings(fasta, tmp_path, capsys):
    def refused(*argv):
        assert main(["compare", str(fasta), "--out", str(tmp_path / "out"), *SMALL, *argv]) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dnar2mae: ")]
        assert not (tmp_path / "out").exists()
        return line

    assert "--laws must name at least one law" in refused()
    assert "--seeds must be one or more, all different, got 1 2 1" in refused("--laws", "fixed:0.3", "--seeds", *"121")
    assert "--seeds must be one or more" in refused("--laws", "fixed:0.3", "--seeds", "0")
    assert "must be in [0, 1]" in refused("--laws", "uniform:0.5,1.5")
    assert "--mask: the masks are set by --laws" in refused("--laws", "fixed:0.3", "--mask.ratio", "0.4")
    assert "at least one step (256 tokens)" in refused("--laws", "fixed:0.3", "--budget-tokens", "100")
    assert "--workers must be at least 1" in refused("--laws", "fixed:0.3", "--workers", "0")
    assert "--variants needs --variants-genome" in refused("--laws", "fixed:0.3", "--variants", "x.vcf")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "keep").touch()
    with pytest.raises(RunError, match="not empty and no comparison"):
        compare(PretrainConfig(), [parse_mask("fixed:0.3")], tmp_path / "mine", CompareOptions())


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["compare", "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "Example: dnar2mae compare" in printed
    assert "--budget-tokens" in printed
