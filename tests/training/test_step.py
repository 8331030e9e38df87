import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from dnar2mae import MaskConfig, OptimizerConfig, PretrainConfig, pretrain
from dnar2mae.inference import Model
from dnar2mae.modalities.registry import build_modality
from dnar2mae.run.checkpoint import checkpoints
from dnar2mae.run.directory import RunDirectory
from dnar2mae.run.metrics import clipped_shares
from dnar2mae.run.result import RunResult
from dnar2mae.training.build import build_model
from dnar2mae.training.loader import batches
from dnar2mae.training.monitor import Monitor
from dnar2mae.training.optimizer import build_optimizer, last_stable_step, learning_rate, scale_and_clip
from dnar2mae.training.stopping import StopRequests
from dnar2mae.training.trainer import Trainer
from tests.modalities.kinds import dna


def trainer_of(config, folder):
    return Trainer(config, build_modality(config), RunDirectory(folder / "run"), torch.device("cpu"), None)


def weights(run, name="model"):
    return load_file(checkpoints(run)[-1] / f"{name}.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def always(ratio):
    """A law of one ratio, in units of 2**-32."""
    return SimpleNamespace(intervals=lambda step, total: ((ratio, 0),))


def rows(run):
    found = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in row.items() if name != "tokens_per_s"} for row in found]


def test_the_weight_of_a_step_does_not_have_it_clipped():
    gradient = torch.tensor([0.3, 0.4])
    for weight in (0.1, 1.0, 4.0):  # relative to the average step
        parameter = torch.zeros(2, requires_grad=True)
        parameter.grad = 2 * gradient * weight
        norm, clipped = scale_and_clip([parameter], torch.tensor(0.5), 1.0, mean=torch.tensor(0.5 / weight))
        assert norm.item() == pytest.approx(0.5)
        assert not clipped
        torch.testing.assert_close(parameter.grad, gradient * weight)
        norm, clipped = scale_and_clip([parameter], torch.tensor(1.0), 0.25, mean=torch.tensor(1 / weight))
        assert clipped
        torch.testing.assert_close(parameter.grad, gradient * weight / 2)


def test_a_ratio_of_08_keeps_its_weight_in_a_run(tmp_path):
    config = replace(dna(tmp_path), optimizer=OptimizerConfig(clip=1e-3))
    norms = {}
    for ratio in (0.1, 0.8):
        mask = MaskConfig(law="choice", ratios=(0.1, 0.8), weighting="token")
        trainer = trainer_of(replace(config, mask=mask), tmp_path)
        trainer.masker._law = always(int(ratio * 2**32))
        trainer.masker.__dict__["expected_share"] = 0.45
        trainer.stepper.optimizer.step = lambda: None
        trainer.stepper.optimizer.zero_grad = lambda: None
        row = trainer.training_step(next(iter(batches(trainer.modality.train, config, 0))))
        assert row["clipped"]
        norms[ratio] = torch.nn.utils.get_total_norm([p.grad for p in trainer.parameters if p.grad is not None]).item()
    assert norms[0.8] / norms[0.1] == pytest.approx(8, rel=0.2)


def test_clipped_steps_are_counted_by_mask_ratio(tmp_path):
    result = pretrain(replace(dna(tmp_path), optimizer=OptimizerConfig(clip=1e-6)), tmp_path / "run")
    bands = json.loads((tmp_path / "run" / "summary.json").read_text())["clipped"]
    assert bands == result.clipped == clipped_shares(tmp_path / "run")
    assert bands["all"] == 1.0
    assert len(bands) > 2
    assert set(bands.values()) == {1.0}
    assert pretrain(replace(dna(tmp_path), optimizer=OptimizerConfig(clip=0.0)), tmp_path / "free").clipped["all"] == 0


def test_a_step_that_masks_nothing_leaves_the_weights_alone(tmp_path, capsys):
    config = replace(dna(tmp_path), mask=MaskConfig(law="choice", ratios=(0.5,)), steps=4)
    trainer = trainer_of(config, tmp_path)
    normal = trainer.masker._law
    for batch in batches(trainer.modality.train, config, 0):
        before = [p.clone() for p in trainer.parameters]
        is_empty = trainer.step == 2
        trainer.masker._law = always(0) if is_empty else normal
        trainer.readings.add(trainer.training_step(batch))
        assert is_empty == all(torch.equal(a, b) for a, b in zip(before, trainer.parameters, strict=True))
    with_metrics = trainer.readings.take()
    assert [math.isfinite(row["loss"]) for row in with_metrics] == [True, True, False, True]
    assert not any("skipped" in row for row in with_metrics)
    trainer.directory.path.mkdir()
    with Monitor(trainer.directory.path, total_steps=4) as monitor:
        monitor.train(with_metrics[:3])
    assert "nan" not in capsys.readouterr().err
    assert rows(trainer.directory.path)[2]["loss"] is None


def test_embedding_tables_are_not_decayed(tmp_path):
    config = dna(tmp_path)
    model = build_model(config, build_modality(config))
    decayed, plain = build_optimizer(model, config.optimizer).param_groups
    assert plain["weight_decay"] == 0
    assert any(p is model.embedder.embedding.weight for p in plain["params"])
    assert any(p is model.head.dense.weight for p in decayed["params"])


def test_a_summary_is_json_whatever_it_holds(tmp_path):
    result = RunResult(out="x", steps=1, finished=True, parameters=1, seconds=1.0, curve={"0.5": math.inf})
    result.save(tmp_path / "summary.json")

    def refuse(name):
        raise AssertionError(name)

    saved = json.loads((tmp_path / "summary.json").read_text(), parse_constant=refuse)
    assert saved["held_out"] is None
    assert saved["curve"] == {"0.5": None}


def test_a_held_out_loss_that_is_not_a_number_is_never_the_best_and_bars_no_other(tmp_path, monkeypatch):
    losses = iter([math.nan, 2.0, math.nan])
    monkeypatch.setattr(Trainer, "validate", lambda self, *_: {"held_out": next(losses, 3.0)})
    pretrain(dna(tmp_path), tmp_path / "run")  # validates at steps 0, 6 and 12
    assert json.loads((tmp_path / "run" / "checkpoints" / "best" / "state.json").read_text())["step"] == 6


def test_another_precision_on_resumption_warns(tmp_path, monkeypatch):
    config = replace(dna(tmp_path), precision="auto")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    stop_after(5, monkeypatch)
    pretrain(config, tmp_path / "run")
    monkeypatch.undo()
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    with pytest.warns(UserWarning, match="computed in float32 so far and goes on in bfloat16, as --precision auto"):
        pretrain(config, tmp_path / "run", resume=True)


def stop_after(step, monkeypatch):
    """Let a stop be asked for after so many steps."""
    count = iter(range(1, 10_000))
    monkeypatch.setattr(StopRequests, "after_step", lambda _: "test" if next(count) == step else None)


def test_averaged_weights_follow_the_weights_and_resume_exactly(tmp_path, monkeypatch):
    config = replace(dna(tmp_path), optimizer=OptimizerConfig(lr=3e-3, warmup_steps=2, ema=0.5))
    trainer = trainer_of(config, tmp_path)
    expected = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    for step, batch in enumerate(batches(trainer.modality.train, config, 0)):
        trainer.training_step(batch)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, p in trainer.model.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * p.detach()
    pretrain(config, tmp_path / "whole")
    averages = weights(tmp_path / "whole", "ema")
    for name, value in expected.items():
        torch.testing.assert_close(averages[name], value)
    assert not same(averages, weights(tmp_path / "whole"))
    with monkeypatch.context() as patch:
        stop_after(7, patch)
        assert not pretrain(config, tmp_path / "parts").finished
    pretrain(config, tmp_path / "parts", resume=True)
    assert same(averages, weights(tmp_path / "parts", "ema"))
    model = Model.from_pretrained(tmp_path / "parts" / "checkpoints" / "ema", device="cpu")
    assert torch.equal(model.module.embedder.embedding.weight, averages["embedder.embedding.weight"])


def test_no_average_is_kept_unless_asked_for(tmp_path):
    pretrain(dna(tmp_path), tmp_path / "run")
    assert not (checkpoints(tmp_path / "run")[-1] / "ema.safetensors").exists()
    assert not (tmp_path / "run" / "checkpoints" / "ema").exists()


@pytest.mark.parametrize("schedule", ["wsd", "constant"])
@pytest.mark.parametrize("interrupted", [False, True])
def test_a_finished_run_goes_on_as_if_it_had_been_longer_from_the_start(tmp_path, monkeypatch, schedule, interrupted):
    optimizer = OptimizerConfig(lr=3e-3, warmup_steps=2, schedule=schedule, decay_share=0.3)
    config = replace(dna(tmp_path), optimizer=optimizer, keep_checkpoints=1, checkpoint_every=6)
    longer = replace(config, steps=20)
    pretrain(longer, tmp_path / "whole")
    run = tmp_path / "run"
    pretrain(config, run)
    if interrupted:
        with monkeypatch.context() as patch:
            stop_after(2, patch)
            assert not pretrain(longer, run, resume=True).finished
        assert not (run / "summary.json").exists()
    assert pretrain(longer, run, resume=True).finished
    assert same(weights(tmp_path / "whole"), weights(run))
    steps = {(row["event"], row["step"]): row for row in rows(run)}
    assert steps == {(row["event"], row["step"]): row for row in rows(tmp_path / "whole")}


@pytest.mark.parametrize(
    ("optimizer", "mask", "steps", "message"),
    [
        ({"schedule": "cosine"}, {}, 20, "under --optimizer.schedule cosine every step's learning rate depends"),
        ({"schedule": "wsd"}, {"law": "linear"}, 20, "under --mask.law linear every step's mask ratio depends"),
        ({"schedule": "wsd"}, {}, 6, "a run can be lengthened, not shortened"),
    ],
)
def test_a_run_that_cannot_be_lengthened_says_so(tmp_path, optimizer, mask, steps, message):
    from dnar2mae.errors import RunError

    config = replace(dna(tmp_path), optimizer=OptimizerConfig(**optimizer), mask=MaskConfig(**mask), steps=8)
    pretrain(config, tmp_path / "run")
    with pytest.raises(RunError, match=rf"--steps was 8, got {steps} \({message}"):
        pretrain(replace(config, steps=steps), tmp_path / "run", resume=True)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.37, 1.0])
@pytest.mark.parametrize("total", [10, 100, 333])
def test_steps_until_the_decay_do_not_depend_on_the_length(share, total):
    config = PretrainConfig(optimizer=OptimizerConfig(schedule="wsd", warmup_steps=7, decay_share=share)).optimizer
    for step in range(last_stable_step(total, config)):
        assert learning_rate(step, total, config) == learning_rate(step, 3 * total, config)
