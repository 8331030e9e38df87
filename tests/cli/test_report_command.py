"""``report``, and ``demo``, which ends with it."""

import json
from dataclasses import replace

import pytest

from dnar2mae import pretrain
from dnar2mae.cli import demo, main
from dnar2mae.cli import pretrain as pretrain_command
from dnar2mae.config import DataConfig
from tests.modalities import kinds


def test_the_demo_ends_with_its_page(tmp_path, monkeypatch, capsys):
    def quickly(argv):
        data = DataConfig(genomes=(argv[0],), window_bp=128)
        pretrain(replace(kinds.tiny("dna", data), steps=2), argv[argv.index("--out") + 1], overwrite=True)
        return 0

    monkeypatch.setattr(pretrain_command, "run", quickly)
    monkeypatch.setattr(
        demo,
        "_GENES",
        ["--length-bp", "120000", "--genes-per-mb", "400", "--max-introns", "0", "--repeat-share", "0.05"],
    )
    assert demo.run(["--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"Wrote {tmp_path}/report.html (0.1")
    text = (tmp_path / "report.html").read_text()
    assert "<h2>Variant control</h2>" in text
    assert "Not on this page" not in text
    assert demo.run(["--out", str(tmp_path), "--overwrite"]) == 0


def test_an_overwritten_run_loses_its_page(tmp_path, capsys):
    config = replace(kinds.dna(tmp_path), steps=2, validate_every=2)
    pretrain(config, tmp_path / "run")
    command = ["report", str(tmp_path / "run"), "--draws", "2", "--steps", "2"]
    assert main(command) == 0
    assert capsys.readouterr().out.startswith(f"Wrote {tmp_path}/run/report.html (0.0")
    assert set(json.loads((tmp_path / "run" / "report.json").read_text())) == {"drawn"}
    assert main(command) == 2
    assert "report.html exists; give --overwrite to replace it" in capsys.readouterr().err
    pretrain(config, tmp_path / "run", overwrite=True)
    assert not list((tmp_path / "run").glob("report.*"))
    assert main(["report", str(tmp_path)]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"dnar2mae: {tmp_path}: expected the directory of a run: no config.yaml in it"


def test_help_says_what_the_page_holds(capsys):
    with pytest.raises(SystemExit):
        main(["report", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for part in ("loss by mask ratio and the bound", "variant control beside counts", "k-mer spectra"):
        assert part in text
