import csv

import numpy as np
import pytest

from dnar2mae.cli.theory import run
from dnar2mae.errors import ConfigError

SMALL = ["--num-features", "24"]
RISK = ["risk", *SMALL, "--aspects", "0.5", "2", "--num-ratios", "6", "--num-points", "3", "--repetitions", "3"]


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_risk(tmp_path, capsys):
    out = tmp_path / "new" / "risk"
    assert run([*RISK, "--width", "0.2", "--out", str(out), "--plots", "a.png", "b.svg"]) == 0
    rows = table(out / "risk.csv")
    assert len(rows) == 2 * 2 * 6
    assert sum(row["simulation"] != "" for row in rows) == 2 * 2 * 3
    assert {row["law"].split(":")[0] for row in rows} == {"fixed", "uniform"}
    assert (out / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "excess test risk" in (out / "b.svg").read_text()
    printed = capsys.readouterr().out
    assert "d/n = 0.5   lowest" in printed
    assert "theory against simulation at 12 points" in printed


def test_risk_self_supervised(tmp_path):
    out = tmp_path / "risk"
    run([*RISK, "--form", "self-supervised", "--loss", "masked", "--rank", "2", "--out", str(out)])
    assert sum(row["probe"] != "" for row in table(out / "risk.csv")) == 2 * 3


def test_risk_without_simulation_of_your_own_matrix(tmp_path, capsys):
    np.save(tmp_path / "s.npy", np.diag(np.linspace(1, 2, 20)) + 0.1)
    options = ["--keep-variances", "--num-points", "0", "--num-masks", "inf"]
    run([*RISK, "--covariance", str(tmp_path / "s.npy"), *options, "--out", str(tmp_path / "out")])
    assert "theory against simulation" not in capsys.readouterr().out


def test_phase(tmp_path, capsys):
    run(["phase", *SMALL, "--resolution", "4", "--out", str(tmp_path / "out")])
    rows = table(tmp_path / "out" / "phase.csv")
    assert len(rows) == 16
    assert all(float(row["random_risk"]) > float(row["fixed_risk"]) for row in rows)
    assert "best fixed ratio: 0.000 to" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.parametrize(
    ("regimes", "options"),
    [
        (10, ["--law", "uniform:0.05,0.5"]),
        (2, ["--regimes", "uncentred", "uncentred-inv"]),  # of 1,102 laws, in seconds a regime
    ],
)
def test_compare(tmp_path, capsys, regimes, options):
    run(["compare", *SMALL, "--resolution", "3", *options, "--out", str(tmp_path / "out")])
    rows = table(tmp_path / "out" / "compare.csv")
    assert len(rows) == regimes * 9
    printed = capsys.readouterr().out
    assert printed.count("of 9 settings") == regimes
    assert "a rescaled fixed ratio is better still in" in printed


def test_compare_over_test_ratios(tmp_path, capsys):
    options = ["--regimes", "share", "bits", "bits", "--test-ratios", "0,0.5"]
    options += ["--regret", "standard", "fixed:0.2", "fixed:0.15"]
    run(["compare", *SMALL, "--resolution", "2", "--law", "uniform:0.1,0.9", *options, "--out", str(tmp_path / "out")])
    assert len(table(tmp_path / "out" / "regret.csv")) == 2 * 9
    printed = capsys.readouterr().out
    assert "regret, %" in printed
    assert "fixed:0.2 " in printed


def test_check(tmp_path, capsys):
    run(["check", "--num-features", "20", "--repetitions", "2", "--out", str(tmp_path)])
    rows = table(tmp_path / "check.csv")
    assert sum(row["kind"] == "share" for row in rows) == sum(row["kind"] == "bits" for row in rows) == 256
    assert capsys.readouterr().out.splitlines()[1].startswith("rows ")


def test_few_masks(capsys):
    run(["few-masks", "--num-features", "16", "--num-masks", "3", "--repetitions", "4"])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:5] == ["predictor", "ridge", "test", "fixed", "uniform"]
    assert len(lines) == 8
    with pytest.raises(ConfigError, match="--repetitions must be even and at least 4"):
        run(["few-masks", "--repetitions", "5"])


def test_peff(capsys):
    run(["peff", *SMALL, "--laws", "uniform:0,1", "uniform:0.1,0.9", "fixed:0", "--aspects", "0.5"])
    head, everything, wide, nothing = capsys.readouterr().out.splitlines()
    assert head.split() == ["law", "mean", "rows", "masked", "masked-mean", "rows-inv", "d/n=0.5"]
    assert everything.split() == ["uniform:0,1", "0.5000", "0.3333", "0.5000", "0.3333", "-"]
    assert wide.split()[:4] == ["uniform:0.1,0.9", "0.5000", "0.3933", "0.5000"]
    assert nothing.split() == ["fixed:0", "0.0000", "0.0000", "-", "-", "0.0000", "0.0000"]


def test_a_full_folder_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    command = ["phase", *SMALL, "--resolution", "2", "--out", str(tmp_path)]
    with pytest.raises(ConfigError, match="is not empty; give --overwrite"):
        run(command)
    run([*command, "--overwrite"])
    assert (tmp_path / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ([*RISK, "--plots", "a.gif"], "--plots must be file names that end in .png, .svg, .pdf, got a.gif"),
        ([*RISK, "--plots", "x/a.png"], "--plots must be file names"),
        ([*RISK, "--width", "0.9"], r"--width must be in \[0, 0.8\], got 0.9"),
        ([*RISK, "--form", "self-supervised"], "needs --loss masked"),
        ([*RISK, "--repetitions", "1"], "--repetitions must be at least 2, got 1"),
        (["risk", *SMALL, "--aspects", "-1"], "aspect ratios d/n must be > 0"),
        ([*RISK, "--noise", "-1"], "--noise must be >= 0"),
        ([*RISK, "--covariance", "ar1:2"], "ar1 must be in"),
        (["phase", "--resolution", "1"], "--resolution must be at least 2, got 1"),
        (["phase", "--snr-range", "2", "1"], "--snr-range must be two increasing numbers in 1e-12..1e12, got 2 1"),
        (["phase", "--snr-range", "2", "inf"], "--snr-range must be two increasing numbers in 1e-12..1e12, got 2 inf"),
        (["compare", "--mean", "nan"], "--mean must be finite, got nan"),
        (["compare", "--law", "uniform:0.5,1.2"], r"uniform:0.5,1.2: high must be in \[0, 1\]"),
        (["compare", *SMALL, "--resolution", "2", "--law", "uniform:0.5,1"], "can mask every feature"),
        (["compare", "--test-ratios", "0,2"], "--test-ratios must be ratios in"),
        (["check", "--repetitions", "1"], "--repetitions must be at least 2 and"),
    ],
)
def test_bad_settings(tmp_path, command, message):
    with pytest.raises(ConfigError, match=message):
        run([*command, "--out", str(tmp_path / "out")])


@pytest.mark.parametrize("command", ["risk", "phase", "compare", "peff", "check", "few-masks"])
def test_help_teaches(command, capsys):
    with pytest.raises(SystemExit) as stop:
        run([command, "--help"])
    assert stop.value.code == 0
    assert f"Example: dnar2mae theory {command}" in capsys.readouterr().out
