import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dnar2mae import (
    DataConfig,
    MaskConfig,
    ModelConfig,
    OptimizerConfig,
    PretrainConfig,
    TokenizerConfig,
    pretrain,
)
from dnar2mae.cli.starting_point import starting_config
from dnar2mae.errors import ConfigError, RunError
from dnar2mae.inference import Model, embed, load
from dnar2mae.modalities.dna.modality import DnaModality
from dnar2mae.run.checkpoint import checkpoints, load_checkpoint
from dnar2mae.run.config_file import write_config
from dnar2mae.run.directory import RunDirectory
from dnar2mae.training.build import build_model
from dnar2mae.training.loader import batches
from dnar2mae.training.step import TrainingStep
from dnar2mae.training.stopping import StopRequested, StopRequests
from dnar2mae.training.trainer import Trainer
from tests.damage import flip_bit

pytestmark = pytest.mark.long


@pytest.fixture
def config(fasta):
    return PretrainConfig(
        data=DataConfig(genomes=(str(fasta),), window_bp=64),
        model=ModelConfig(width=32, depth=1, heads=2, mlp_width=32),
        optimizer=OptimizerConfig(lr=3e-3, warmup_steps=5),
        steps=40,
        batch_size=8,
        validate_every=20,
        validation_windows=32,
        checkpoint_every=10,
        device="cpu",
        precision="fp32",
    )


def weights(run):
    return load_file(checkpoints(run)[-1] / "model.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def comparable_metrics(run):
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in row.items() if name != "tokens_per_s"} for row in rows]


def command(config, run, *flags):
    write_config(config, run.with_suffix(".yaml"))
    line = [sys.executable, "-m", "dnar2mae.cli", "pretrain", "--config", str(run.with_suffix(".yaml"))]
    return [*line, "--out", str(run), *flags]


def test_a_run_learns_and_writes_what_it_promises(config, tmp_path, plots):
    result = pretrain(replace(config, steps=150, tensorboard=True), tmp_path / "run")
    assert result.finished
    assert result.held_out < result.untrained - 0.05
    assert set(result.curve) == {"0.05", "0.15", "0.3", "0.5", "0.7"}
    assert result.curve["0.05"] < result.curve["0.7"]
    assert len(result.yardstick) == 17 + 4
    run = tmp_path / "run"
    assert json.loads((run / "summary.json").read_text())["held_out"] == result.held_out
    assert (run / "loss.png").stat().st_size > 5000
    assert list((run / "tensorboard").iterdir())
    assert [p.name for p in checkpoints(run)] == ["step-00000140", "step-00000150"]
    assert load_checkpoint(run / "checkpoints" / "best", build_model(config, DnaModality(config)))["step"] > 0
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    train = [row for row in rows if row["event"] == "train"]
    assert [row["step"] for row in train] == list(range(1, 151))
    assert all(row["bits_per_base"] == pytest.approx(row["loss"] / math.log(2)) for row in train)
    assert [row["step"] for row in rows if row["event"] == "validation"] == [
        0,
        20,
        40,
        60,
        80,
        100,
        120,
        140,
        150,
    ]
    assert train[-1]["lr"] < 0.1 * max(row["lr"] for row in train)


def test_same_seed_same_weights_other_seed_others(config, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        pretrain(replace(config, seed=seed, steps=12), tmp_path / name)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_killed_and_resumed_equals_undisturbed(config, tmp_path):
    config = replace(config, steps=60)
    pretrain(config, tmp_path / "whole")
    run = tmp_path / "killed"
    process = subprocess.Popen(command(config, run), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and len(list((run / "checkpoints").glob("step-*"))) < 2:
        time.sleep(0.005)
    process.kill()
    process.wait()
    saved = checkpoints(run)
    assert saved
    assert saved[-1].name != "step-00000060"
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"event": "train", "st')  # as a kill in mid-write leaves it
    done = subprocess.run([*command(config, run)[:4], "--out", str(run), "--resume"], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert same(weights(tmp_path / "whole"), weights(run))
    assert comparable_metrics(tmp_path / "whole") == comparable_metrics(run)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stop_signal_saves_and_exits(config, tmp_path, number, workers):
    run = tmp_path / "run"
    config = replace(config, steps=100_000, checkpoint_every=10_000, validate_every=10_000, num_workers=workers)
    process = subprocess.Popen(command(config, run), stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (run / "metrics.jsonl").exists() or (run / "metrics.jsonl").read_text().count("\n") < 30:
        time.sleep(0.01)
        assert process.poll() is None
    os.killpg(process.pid, number)  # all processes, as a terminal and a scheduler do
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    step = json.loads((checkpoints(run)[-1] / "state.json").read_text())["step"]
    assert f"{number.name}: saved step {step}; go on with --resume" in errors
    assert step <= comparable_metrics(run)[-1]["step"]
    assert "Traceback" not in errors


def test_a_stop_in_a_validation_leaves_it_to_the_resumed_run(config, tmp_path, monkeypatch):
    pretrain(config, tmp_path / "whole")
    reasons = {0: iter("abc"), 20: iter("abc"), config.steps: iter("abcdefgh")}

    def check(self):
        if reason := next(reasons.get(trainer_of["step"], iter("")), None):
            raise StopRequested(reason)

    trainer_of = {}
    real = Trainer.validate

    def validate(self, *arguments):
        trainer_of["step"] = self.step
        return real(self, *arguments)

    monkeypatch.setattr(StopRequests, "check", check)
    monkeypatch.setattr(Trainer, "validate", validate)
    run, stops = tmp_path / "stopped", 0
    while not pretrain(config, run, resume=stops > 0).finished:
        stops += 1
        assert not (run / "summary.json").exists()
    assert stops == 3 + 3 + 8
    assert same(weights(tmp_path / "whole"), weights(run))
    assert comparable_metrics(tmp_path / "whole") == comparable_metrics(run)


def test_workers_and_order_do_not_change_batches(config):
    source = DnaModality(config).train
    plain = list(batches(source, replace(config, steps=6), 0))
    worked = list(batches(source, replace(config, steps=6, num_workers=2), 0))
    resumed = list(batches(source, replace(config, steps=6), 4))
    for a, b in [*zip(plain, worked, strict=True), *zip(plain[4:], resumed, strict=True)]:
        assert all(
            torch.equal(getattr(a, name), getattr(b, name)) for name in ("tokens", "maskable", "weight", "sample_ids")
        )
    merged = source.batch(np.arange(48))
    assert torch.equal(merged.tokens, torch.cat([b.tokens for b in plain]))


@pytest.mark.parametrize("tokenizer", [TokenizerConfig(), TokenizerConfig(k=3, stride=1)], ids=["base", "kmer"])
def test_micro_batches_give_the_same_loss(config, tmp_path, tokenizer):
    losses = []
    config = replace(config, tokenizer=tokenizer, mask=MaskConfig(per="sample"), steps=15)
    for micro in (None, 4, 1):
        run = RunDirectory(tmp_path / f"micro{micro}")
        trainer = Trainer(replace(config, micro_batch=micro), DnaModality(config), run, torch.device("cpu"), None)
        source = batches(trainer.modality.train, config, 0)
        losses.append([trainer.training_step(batch)["loss"].item() for batch in source])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    np.testing.assert_allclose(losses[2], losses[0], rtol=1e-5)


def test_soft_masked_bases_weigh_less(config, fasta):
    text = fasta.read_text()
    fasta.write_text(text[:8000] + text[8000:14000].lower() + text[14000:])
    config = replace(config, data=replace(config.data, soft_mask_weight=0.1))
    batch = DnaModality(config).train.batch(np.arange(500))
    lower = batch.weight < 0.5
    assert batch.weight[lower].unique().tolist() == pytest.approx([0.1])
    assert 0.1 < lower.double().mean() < 0.3
    assert (batch.weight[~lower] == 1).all()


def test_weights_that_are_not_finite_are_never_saved(config, tmp_path, monkeypatch):
    real = Trainer.training_step

    def poisoned(self, batch):
        if self.step == 25:
            with torch.no_grad():
                self.model.head.bias[5] = math.nan
        return real(self, batch)

    monkeypatch.setattr(Trainer, "training_step", poisoned)
    with pytest.raises(RunError, match="step 30: weights are not finite; the last good checkpoint is .*step-00000020"):
        pretrain(config, tmp_path / "run")
    assert checkpoints(tmp_path / "run")[-1].name == "step-00000020"
    message = r"step 30: 5 steps in a row were skipped, the loss is nan .*step-00000020. A lower --optimizer.lr"
    with pytest.raises(RunError, match=message):
        pretrain(replace(config, max_skipped=5), tmp_path / "run", resume=False, overwrite=True)


@pytest.mark.parametrize(("bad", "spike"), [(math.inf, None), (1e6, 20.0)])
def test_a_bad_gradient_costs_its_step_and_nothing_else(config, tmp_path, monkeypatch, bad, spike):
    real = TrainingStep._loss

    def disturbed(self, step, plan, part):
        loss, *counts = real(self, step, plan, part)
        return loss * (bad if plan == self.masker.plan(7) else 1.0), *counts

    monkeypatch.setattr(TrainingStep, "_loss", disturbed)
    config = replace(config, optimizer=replace(config.optimizer, spike=spike), steps=20)
    run = RunDirectory(tmp_path / "run")
    trainer = Trainer(config, DnaModality(config), run, torch.device("cpu"), None)
    for batch in batches(trainer.modality.train, config, 0):
        before = [p.clone() for p in trainer.parameters]
        row = trainer.training_step(batch)
        same_weights = all(torch.equal(a, b) for a, b in zip(before, trainer.parameters, strict=True))
        assert same_weights == (row["step"] == 8)
        assert row["skipped"].item() == (row["step"] == 8)


def test_a_run_with_a_step_that_was_left_out_ends_with_a_plot(config, tmp_path, monkeypatch, plots):
    real = TrainingStep._loss

    def disturbed(self, step, plan, part):
        loss, *counts = real(self, step, plan, part)
        return loss * (math.nan if plan == self.masker.plan(7) else 1.0), *counts

    monkeypatch.setattr(TrainingStep, "_loss", disturbed)
    assert pretrain(replace(config, steps=20), tmp_path / "run").finished
    assert (tmp_path / "run" / "loss.png").stat().st_size > 5000


@pytest.fixture
def source(config, tmp_path):
    """A run to start from, and a copy of it that lacks its last checkpoint."""
    pretrain(replace(config, steps=20), tmp_path / "source")
    shutil.copytree(tmp_path / "source", tmp_path / "younger")
    shutil.rmtree(checkpoints(tmp_path / "younger")[-1])
    return tmp_path / "source"


def stop_at(step, monkeypatch):
    """Let the process die in place of this step."""
    real = Trainer.training_step

    def dying(self, batch):
        if self.step == step:
            raise KeyboardInterrupt
        return real(self, batch)

    monkeypatch.setattr(Trainer, "training_step", dying)


@pytest.mark.parametrize("step", [3, 15])
@pytest.mark.parametrize("fate", ["goes on", "moves away", "is damaged"])
def test_a_run_that_began_from_another_resumes_whatever_becomes_of_that(
    config, source, tmp_path, monkeypatch, step, fate
):
    config = replace(config, init=str(tmp_path / "from"), seed=3, model=ModelConfig())
    source.rename(tmp_path / "from") if fate != "goes on" else (tmp_path / "younger").rename(tmp_path / "from")
    pretrain(config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_at(step, patch)
        with pytest.raises(KeyboardInterrupt):
            pretrain(config, tmp_path / "killed")
    if fate == "goes on":
        shutil.rmtree(tmp_path / "from")
        source.rename(tmp_path / "from")
    elif fate == "moves away":
        shutil.rmtree(tmp_path / "from")
    else:
        flip_bit(checkpoints(tmp_path / "from")[-1] / "model.safetensors", 4000)
    assert pretrain(config, tmp_path / "killed", resume=True).finished
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    assert comparable_metrics(tmp_path / "whole") == comparable_metrics(tmp_path / "killed")


def test_a_run_that_began_from_another_does_not_begin_from_chance(config, source, tmp_path):
    config = replace(config, init=str(source), steps=10)
    pretrain(config, tmp_path / "run")
    for folder in checkpoints(tmp_path / "run"):
        flip_bit(folder / "model.safetensors", 4000)
    with (
        pytest.warns(UserWarning, match="damaged checkpoint"),
        pytest.raises(
            RunError, match="run: no checkpoint is whole, and --init is read only once; start again with --ov"
        ),
    ):
        pretrain(config, tmp_path / "run", resume=True)


def test_a_run_whose_configuration_was_cut_is_not_completed_with_defaults(config, tmp_path):
    run = tmp_path / "run"
    pretrain(replace(config, steps=2), run)
    file = run / "config.yaml"
    text = file.read_text()
    file.write_text(text[: text.index("  global_every")])
    uses = {
        "resume": lambda: pretrain(replace(config, steps=2), run, resume=True),
        "init": lambda: pretrain(replace(config, init=str(run)), tmp_path / "next"),
        "model": lambda: Model.from_pretrained(run, device="cpu"),
        "samples": lambda: load(run, device="cpu"),
        "embed": lambda: embed(run, config.data.genomes[0], tmp_path / "x.npy", device="cpu"),
        "flags": lambda: starting_config(["--resume", "--out", str(run)]),
    }
    for use in uses.values():
        with pytest.raises(ConfigError, match="run/config.yaml: cut short, or of an earlier version"):
            use()
    assert not (tmp_path / "next").exists()
    file.write_text(text)
    for name in ("model", "samples", "embed", "flags", "resume"):
        uses[name]()


def test_output_folder_rules(config, tmp_path):
    short = replace(config, steps=5)
    run = tmp_path / "run"
    with pytest.raises(RunError, match="nothing to resume here"):
        pretrain(short, run, resume=True)
    assert not run.exists()
    pretrain(short, run)
    with pytest.raises(RunError, match="not empty; go on with --resume, start again with --overwrite"):
        pretrain(short, run)
    with pytest.raises(RunError, match="must keep its settings: --optimizer.lr was 0.003, got 0.1"):
        pretrain(replace(short, optimizer=OptimizerConfig(lr=0.1, warmup_steps=5)), run, resume=True)
    with pytest.raises(RunError, match="exclude each other"):
        pretrain(short, run, resume=True, overwrite=True)
    again = pretrain(replace(short, num_workers=1), run, resume=True)
    assert again.finished
    pretrain(short, run, overwrite=True)
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.txt").write_text("do not lose me")
    with pytest.raises(RunError, match="holds no dnar2mae run"):
        pretrain(short, tmp_path / "papers", overwrite=True)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="the output must be a folder"):
        pretrain(short, tmp_path / "file")


def test_damaged_and_foreign_checkpoints_are_named(config, tmp_path):
    pretrain(replace(config, steps=20), tmp_path / "run")
    model = build_model(config, DnaModality(config))
    folder = checkpoints(tmp_path / "run")[-1]
    other = build_model(replace(config, model=replace(config.model, width=64)), DnaModality(config))
    with pytest.raises(RunError, match=r"does not fit the model: .* is \[.*32.*\], not \[.*64.*\]"):
        load_checkpoint(folder, other)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(RunError, match="model.safetensors is not what was written: its checksum differs"):
        load_checkpoint(folder, model)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "cuda:99"}, "--device must be one that this machine has, got cuda:99"),
        ({"device": "abacus"}, "--device must be one that this machine has, got abacus"),
        ({"data": DataConfig()}, "no genome given"),
    ],
)
def test_unusable_settings_leave_nothing_behind(config, tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        pretrain(replace(config, **settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_bf16_and_compile_train_too(config, tmp_path):
    plain = pretrain(replace(config, steps=20), tmp_path / "plain")
    low = pretrain(replace(config, steps=20, precision="bf16", gradient_checkpointing=True), tmp_path / "low")
    assert low.held_out == pytest.approx(plain.held_out, abs=0.02)


@pytest.mark.skipif(os.name != "posix", reason="needs a small tmpfs")
def test_a_full_disk_is_named_and_keeps_the_last_good_checkpoint(config, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", small], check=False, capture_output=True
    ).returncode:
        pytest.skip("mounting a tmpfs needs root")
    try:
        with pytest.raises(RunError, match="(cannot write the checkpoint|no space left).*") as error:
            pretrain(replace(config, steps=200, checkpoint_every=2, keep_checkpoints=100), small / "run")
        assert "\n" not in str(error.value)
        saved = checkpoints(small / "run")
        assert saved
        model = build_model(config, DnaModality(config))
        for folder in saved:
            load_checkpoint(folder, model)
        assert not list((small / "run" / "checkpoints").glob(".*partial"))
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.gpu
def test_the_gpu_run_learns_what_the_cpu_run_learns(config, tmp_path):
    results = [pretrain(replace(config, device=device, steps=30), tmp_path / device) for device in ("cpu", "cuda")]
    assert results[0].held_out == pytest.approx(results[1].held_out, abs=2e-3)
