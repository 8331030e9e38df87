import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from dnar2mae import DataConfig, pretrain
from dnar2mae.cli import main
from dnar2mae.cli.summary import print_summary
from dnar2mae.errors import RunError
from dnar2mae.genome.simulate import SimulateConfig, simulate
from dnar2mae.hub.export import model_card
from dnar2mae.inference import Model
from dnar2mae.run.checkpoint import checkpoints
from dnar2mae.run.result import RunResult
from dnar2mae.training.trainer import Trainer
from tests.cli.test_pretrain_command import refused
from tests.modalities import kinds


@pytest.fixture
def config(tmp_path):
    made = simulate(SimulateConfig(length_bp=60_000, chromosomes=1, genes_per_mb=150.0, gaps_per_mb=0))
    made.write(tmp_path / "genome.fa", tmp_path / "genes.gff3")
    config = kinds.tiny("dna", DataConfig(genomes=(str(tmp_path / "genome.fa"),), window_bp=64))
    data = replace(
        config.data, mixture="coding=0.5,promoter=0.2,intergenic=0.3", annotation=(str(tmp_path / "genes.gff3"),),
        validation_share=0.3,
    )  # fmt: skip
    return replace(config, data=data, steps=12, validate_every=6, checkpoint_every=5, validation_windows=40)


def metrics(run):
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in row.items() if name != "tokens_per_s"} for row in rows]


def test_a_resumed_run_draws_what_it_would_have_drawn(config, tmp_path, monkeypatch):
    whole = pretrain(config, tmp_path / "whole")
    real = Trainer.training_step

    def step_or_die(self, batch):
        if self.step == 8:
            raise RuntimeError("killed")
        return real(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "training_step", step_or_die)
        with pytest.raises(RuntimeError, match="killed"):
            pretrain(config, tmp_path / "run")
    assert checkpoints(tmp_path / "run")[-1].name == "step-00000005"
    resumed = pretrain(config, tmp_path / "run", resume=True)
    assert resumed.classes == whole.classes
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")
    a, b = (load_file(checkpoints(tmp_path / name)[-1] / "model.safetensors") for name in ("run", "whole"))
    assert all(torch.equal(a[name], b[name]) for name in a)
    other = replace(config, data=replace(config.data, mixture="coding=0.6,promoter=0.1,intergenic=0.3"))
    with pytest.raises(RunError, match="mixture"):
        pretrain(replace(other, steps=20), tmp_path / "run", resume=True)


def test_held_out_losses_by_class_stand_everywhere(config, tmp_path, capsys):
    run = tmp_path / "run"
    result = pretrain(config, run)
    assert set(result.classes) >= {"coding", "promoter", "intergenic"}
    assert sum(own["samples"] for own in result.classes.values()) == result.samples["used"]
    assert min(own["value"] for own in result.classes.values()) < result.held_out
    assert max(own["value"] for own in result.classes.values()) > result.held_out
    rows = [row for row in metrics(run) if row["event"] == "validation"]
    assert all(row["held_out_coding"] > 0 and row["held_out_intergenic"] > 0 for row in rows)
    assert RunResult.read(run / "summary.json").classes == result.classes
    assert "mixture: coding=0.5,promoter=0.2,intergenic=0.3" in (run / "config.yaml").read_text()
    print_summary(result)
    assert f"this model, coding ({result.classes['coding']['samples']} samples)" in capsys.readouterr().out
    assert main(["report", str(run), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "class of the middle base" in page
    assert f"{result.classes['promoter']['value']:.4f}" in page
    card = model_card(Model.from_pretrained(run, device="cpu"), run, "unknown", name="x")
    assert "| drawn by annotated class | coding=0.5, promoter=0.2, intergenic=0.3 |" in card
    assert f"| this model, middle coding | {result.classes['coding']['value']:.4f} |" in card


def test_errors_are_one_line(config, tmp_path, capsys):
    genome, genes = config.data.genomes[0], config.data.annotation[0]
    mixture = ["--data.mixture", "coding=0.5,exon=0.5"]
    assert "no class is called exon" in refused(capsys, tmp_path, genome, *mixture, "--data.annotation", genes)
    assert "--data.mixture needs --data.annotation" in refused(capsys, tmp_path, genome, *mixture)
    missing = [*mixture, "--data.annotation", tmp_path / "no.gff3"]
    assert "no.gff3: no such file" in refused(capsys, tmp_path, genome, *missing)


def test_other_kinds_of_data_have_no_mixture(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["pretrain", "--modality", "text", "x.txt", "--out", str(tmp_path / "r"), "--data.mixture", "coding=1"])
    assert "--data.mixture" in capsys.readouterr().err
