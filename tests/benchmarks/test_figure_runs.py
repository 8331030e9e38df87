"""Rows of finished runs."""

import csv
import json

import pytest

from dnar2mae.benchmarks.figures import runs


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        ("pretrain a.fa b.fa", ""),
        ("pretrain --modality text a.txt --seed 3 --steps 300 --out x --overwrite", "--steps 300"),
        ("pretrain --modality cell a.h5ad --model.backbone mlp --validate-every 2", "--model.backbone mlp"),
        ("pretrain a.txt --data.no-pack --data.start ^_=", "--data.no-pack --data.start ^_="),
    ],
)
def test_settings_leave_out_files_and_what_has_a_column(command, settings):
    assert runs.settings_of(["dnar2mae", *command.split()]) == settings


def test_a_setting_with_spaces_is_quoted():
    assert runs.settings_of(["dnar2mae", "pretrain", "a.txt", "--data.start", "^ = "]) == "--data.start '^ = '"


def test_a_row_has_the_best_trivial_model(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RESULTS", tmp_path)
    summary = {"unit": "bits per byte", "held_out": 2.34567, "standard_error": 0.01, "untrained": 8.0}
    summary |= {"yardstick": {"token unigram": 4.0, "token Markov order 2": 2.5}}
    command = ["dnar2mae", "pretrain", "--modality", "text", "a.txt", "--seed", "1"]
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    environment = {"command": command, "commit": "abc", "started": "2026-11-26T10:00:00+0000"}
    (tmp_path / "environment.json").write_text(json.dumps(environment))
    runs.main([str(tmp_path), "--data", "a text", "--device", "a core"])
    with (tmp_path / "modality_runs.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["best_yardstick"], row["yardstick"], row["held_out"]) == ("Markov order 2", "2.5", "2.3457")
    assert (row["modality"], row["seed"], row["settings"], row["date"]) == ("text", "1", "", "2026-11-26")
