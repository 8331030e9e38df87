"""Fine-tuning on labels of every kind of data, and on several processes."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from dnar2mae import pretrain
from dnar2mae.errors import ConfigError
from dnar2mae.finetuning import FinetuneConfig, PredictOptions, finetune, load, predict
from dnar2mae.inference import load as load_pretrained
from dnar2mae.report.page import write_page
from dnar2mae.run.config_file import write_settings
from tests.modalities.kinds import KINDS, write_cells

from .conftest import rich_rows, write_table

pytestmark = pytest.mark.long
ROOT = Path(__file__).resolve().parents[2]


def labelled(kind, config, folder):
    """Return settings of data with labels of this kind."""
    if kind == "dna bpe":
        return {"data": str(write_table(folder / "rows.csv", rich_rows(100)))}
    path = config.data.paths[0]
    if kind.startswith("cell"):
        counts = np.random.default_rng(0).poisson(np.arange(90)[:, None] % 3 * 4 + 1, (90, 24)).astype(np.float32)
        obs = {"kind": np.array(["a", "b", "c"])[np.arange(90) % 3]}
        return {"data": str(write_cells(folder / "labelled.h5ad", counts, obs=obs)), "label": ("kind",)}
    number = len(load_pretrained(folder / "run", device="cpu").modality.read(Path(path)))
    rows = [{"depth": np.random.default_rng(i).normal() + i % 2} for i in range(number)]
    return {"data": path, "label_table": str(write_table(folder / "labels.csv", rows)), "label": ("depth",)}


@pytest.mark.filterwarnings("ignore:.*texts are longer")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "dna"])
def test_labels_of_every_kind_of_data(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("dnar2mae.finetuning.tuning.plot_losses", lambda run, path, best: path.touch())
    monkeypatch.setattr("dnar2mae.finetuning.tuning.plot_calibration", lambda found, path: path.touch())
    config = replace(KINDS[kind](tmp_path), steps=2)
    pretrain(config, tmp_path / "run")
    settings = {"model": str(tmp_path / "run"), "device": "cpu", "epochs": 2, "split": "random"}
    settings |= labelled(kind, config, tmp_path)
    result = finetune(FinetuneConfig(**settings), tmp_path / "tuned")
    assert result.finished
    assert "random weights" in result.yardsticks
    assert len(result.yardsticks) >= (1 if kind == "text bpe" else 2)
    written = predict(tmp_path / "tuned", settings["data"], tmp_path / "out.csv", device="cpu")
    frame = pd.read_csv(tmp_path / "out.csv")
    assert len(frame) == written.rows
    assert "predicted" in frame.columns
    if kind != "dna bpe":
        both = PredictOptions(both_strands=True)
        with pytest.raises(ConfigError, match="--both-strands is for DNA"):
            predict(tmp_path / "tuned", settings["data"], tmp_path / "o.csv", device="cpu", options=both)
    page = write_page(tmp_path / "tuned", device="cpu").read_text()
    assert "Not on this page" not in page
    assert ("Homologues in train" in page) == (kind == "dna bpe")
    if kind.startswith("cell"):
        assert load(tmp_path / "tuned", device="cpu").target.classes == ("a", "b", "c")
        assert result.yardsticks["random weights"]["mcc"].value > -1


def test_two_processes_train_the_same_model(random_run, tmp_path):
    data = write_table(tmp_path / "t.csv", rich_rows(105))
    config = FinetuneConfig(
        model=str(random_run), data=str(data), epochs=3, device="cpu", both_strands=True, baselines=False
    )
    finetune(config, tmp_path / "one")
    write_settings(config, tmp_path / "config.yaml")
    code = (
        "import sys; from pathlib import Path; from dnar2mae.run.config_file import read_whole; "
        "from dnar2mae.finetuning import FinetuneConfig, finetune; "
        "finetune(read_whole(Path(sys.argv[1]), FinetuneConfig), sys.argv[2])"
    )
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    job = [sys.executable, "-c", code, str(tmp_path / "config.yaml"), str(tmp_path / "two")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*line, *job], check=False, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    ours, theirs = (
        load_file(tmp_path / name / "checkpoints" / "best" / "model.safetensors") for name in ("one", "two")
    )
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], atol=2e-4)
    scores = [json.loads((tmp_path / name / "summary.json").read_text())["scores"]["auroc"] for name in ("one", "two")]
    assert scores[0]["value"] == pytest.approx(scores[1]["value"], abs=1e-3)
