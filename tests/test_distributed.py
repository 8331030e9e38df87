"""The same run on 1, 2 and 4 processes, under DDP and FSDP, and carried from one shape to another."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from dnar2mae import MaskConfig, Masker, distributed
from dnar2mae.distributed import Ranks, start_ranks
from dnar2mae.errors import ConfigError
from dnar2mae.run.checkpoint import checkpoints
from dnar2mae.run.config_file import write_config
from dnar2mae.training.loader import batches
from tests.modalities.kinds import dna, image
from tests.rank_main import main

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[1]


def torchrun(size, jobs):
    """Run jobs in a group of processes on this machine; stderr on failure."""
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size)]
    code = "import json, sys; from tests.rank_main import main; main(json.loads(sys.argv[1]))"
    script = ["--no-python", sys.executable, "-c", code, json.dumps(jobs)]
    done = subprocess.run(
        [*line, *script],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]


def losses(run):
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return {(row["event"], row["step"]): row.get("loss", row.get("held_out")) for row in rows}


def assert_same_run(run, reference):
    ours, theirs = losses(run), losses(reference)
    assert ours.keys() == theirs.keys()
    np.testing.assert_allclose(list(ours.values()), list(theirs.values()), atol=1e-5)
    a, b = (load_file(checkpoints(path)[-1] / "model.safetensors") for path in (run, reference))
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], atol=2e-4)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Twenty steps on one process, and what 2 and 4 made of the same configuration."""
    folder = tmp_path_factory.mktemp("ranks")
    os.environ["DNAR2MAE_CACHE"] = str(folder / "cache")
    config = replace(
        dna(folder), steps=20, validate_every=10, checkpoint_every=10, micro_batch=1, mask=MaskConfig(per="sample")
    )
    config = replace(config, optimizer=replace(config.optimizer, muon_lr=0.01))
    pictures = image(folder)
    pictures = replace(pictures, micro_batch=2, model=replace(pictures.model, objective="mae"))
    strands = replace(config, model=replace(config.model, backbone="cnn", conv_groups=2, strand_symmetric=None))
    kinds = {"dna": config, "image": pictures, "bf16": replace(config, reduce="bf16"), "strands": strands}
    for kind, settings in kinds.items():
        write_config(settings, folder / f"{kind}.yaml")

    def job(name, parallel="ddp", stop_at=None, resume=False, kind="dna"):
        return [str(folder / f"{kind}.yaml"), str(folder / name), parallel, stop_at, resume]

    main([job("one"), job("begun by one", stop_at=12), job("pictures", kind="image"), job("both", kind="strands")])
    torchrun(4, [job("ddp of 4"), job("fsdp of 4", "fsdp"), job("begun by fsdp of 4", "fsdp", stop_at=12)])
    main([job("begun by fsdp of 4", resume=True)])
    others = [job(f"{kind} {way}", way, kind=kind) for kind in ("image", "bf16", "strands") for way in ("ddp", "fsdp")]
    torchrun(2, [job("ddp of 2"), job("fsdp of 2", "fsdp"), job("begun by one", "fsdp", resume=True), *others])
    return folder


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name", ["ddp of 2", "ddp of 4", "fsdp of 2", "fsdp of 4", "begun by fsdp of 4", "begun by one"]
)
def test_a_run_goes_the_same_way_in_any_shape(runs, name):
    assert_same_run(runs / name, runs / "one")


@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_so_does_one_whose_encoder_sees_only_what_is_visible(runs, way):
    assert_same_run(runs / f"image {way}", runs / "pictures")


@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_so_does_one_whose_weights_the_strands_share(runs, way):
    assert_same_run(runs / f"strands {way}", runs / "both")


@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_gradients_may_travel_in_bf16(runs, way):
    ours, theirs = losses(runs / f"bf16 {way}"), losses(runs / "one")
    assert ours != theirs
    np.testing.assert_allclose(list(ours.values()), list(theirs.values()), atol=2e-2)


def test_ranks_share_every_batch(tmp_path):
    config = replace(dna(tmp_path), steps=2)
    from dnar2mae.modalities.registry import build_modality

    source = build_modality(config).train
    whole = [batch.sample_ids.tolist() for batch in batches(source, config, 0)]
    parts = [[b.sample_ids.tolist() for b in batches(source, config, 0, ranks=Ranks(rank, 4))] for rank in range(4)]
    assert [sum((part[step] for part in parts), []) for step in range(2)] == whole


def test_a_batch_that_ranks_cannot_share_is_refused(tmp_path, monkeypatch):
    import torch

    monkeypatch.setenv("WORLD_SIZE", "3")
    with (
        pytest.raises(ConfigError, match=r"--batch-size must be a multiple of 3 ranks, got 8"),
        start_ranks(dna(tmp_path), torch.device("cpu")),
    ):
        pass


def start_torchrun(size, code, *arguments, options=("--standalone",), environment=None):
    """Begin a group of processes that run a piece of code."""
    line = [sys.executable, "-m", "torch.distributed.run", *options, "--nproc-per-node", str(size)]
    line += ["--shutdown-timeout", "5", "--no-python", sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
    return subprocess.Popen(line, cwd=ROOT, env=environment, text=True, stderr=subprocess.PIPE)


PRETRAIN = """
import os, signal, sys, time
from dnar2mae.training import trainer
from dnar2mae.cli import main
end, config, out, *flags = sys.argv[1:]
step = trainer.Trainer.training_step
def disturbed(self, batch):
    if self.step == 10 and self.ranks.rank == 1 and not self.ranks.restarted:
        if end == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if end == "hangs":
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            time.sleep(3600)
    return step(self, batch)
trainer.Trainer.training_step = disturbed
if __name__ == "__main__":
    sys.exit(main(["pretrain", "--config", config, "--out", out, *flags]))
"""
ONE_RESTART = ("--standalone", "--max-restarts", "1")


@pytest.mark.timeout(300)
def test_a_group_that_lost_a_rank_starts_again_and_resumes(tmp_path):
    config = replace(dna(tmp_path), checkpoint_every=4)
    write_config(config, tmp_path / "config.yaml")
    main([[str(tmp_path / "config.yaml"), str(tmp_path / "whole"), "ddp", None, False]])
    run = tmp_path / "killed"
    main([[str(tmp_path / "config.yaml"), str(run), "ddp", 3, False]])  # which --overwrite replaces, once
    process = start_torchrun(2, PRETRAIN, "dies", tmp_path / "config.yaml", run, "--overwrite", options=ONE_RESTART)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors[-3000:]
    assert "resuming from" in errors
    assert "step-00000003" not in errors
    assert_same_run(run, tmp_path / "whole")


@pytest.mark.timeout(300)
def test_nodes_find_each_other_again_and_resume(tmp_path):
    config = replace(dna(tmp_path), checkpoint_every=4, timeout_s=60.0)
    write_config(config, tmp_path / "config.yaml")
    main([[str(tmp_path / "config.yaml"), str(tmp_path / "whole"), "ddp", None, False]])
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    options = ("--nnodes", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{port}", "--rdzv-id", "test")
    own_store = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    nodes = [
        start_torchrun(
            1,
            PRETRAIN,
            "dies",
            tmp_path / "config.yaml",
            tmp_path / "run",
            options=(*options, "--max-restarts", "3"),
            environment=own_store,
        )
        for _ in range(2)
    ]
    errors = [node.communicate(timeout=240)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], "\n".join(text[-3000:] for text in errors)
    assert "resuming from" in errors[0] + errors[1]
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("end", ["dies", "hangs"])
def test_a_lost_rank_ends_the_job_and_is_named(tmp_path, end):
    write_config(replace(dna(tmp_path), timeout_s=10.0), tmp_path / "config.yaml")
    process = start_torchrun(2, PRETRAIN, end, tmp_path / "config.yaml", tmp_path / "run")
    _, errors = process.communicate(timeout=240)
    assert process.returncode != 0
    if end == "dies":
        assert "local_rank: 1" in errors
        assert "exitcode: -9" in errors.replace("exitcode  :", "exitcode:")
    else:
        assert "rank 1 no longer answers: it died, or hung for --timeout-s 10" in errors


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, 1), (signal.SIGUSR1, 0)])
def test_a_preempted_group_saves_and_stops(tmp_path, number, workers):
    config = replace(dna(tmp_path), steps=100_000, checkpoint_every=50_000, validate_every=50_000, num_workers=workers)
    write_config(config, tmp_path / "config.yaml")
    run = tmp_path / "run"
    options = ("--standalone", "--signals-to-handle", "SIGTERM,SIGINT,SIGUSR1", "--shutdown-timeout", "60")
    process = start_torchrun(2, PRETRAIN, "late", tmp_path / "config.yaml", run, options=options)
    while not (run / "metrics.jsonl").exists() or (run / "metrics.jsonl").read_text().count("\n") < 20:
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "saved step" in errors, errors[-3000:]
    assert len(checkpoints(run)) == 1


@pytest.mark.timeout(300)
def test_a_time_limit_is_no_failure_that_would_start_the_group_again(tmp_path):
    write_config(replace(dna(tmp_path), steps=100_000, validate_every=10), tmp_path / "config.yaml")
    flags = ("--max-hours", "0.001")
    process = start_torchrun(
        2, PRETRAIN, "late", tmp_path / "config.yaml", tmp_path / "run", *flags, options=ONE_RESTART
    )
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors[-3000:]
    assert errors.count("--max-hours 0.001: saved step") == 1


def test_only_errors_of_the_group_ask_who_is_silent(monkeypatch):
    import torch.distributed as dist  # noqa: TID251 - the store that ranks report to

    monkeypatch.setattr(distributed, "_SECONDS_TO_REPORT", 0.0)
    ranks, store = Ranks(0, 4), dist.HashStore()
    store.set("waited 2", "")
    assert distributed._silent(RuntimeError("[gloo/transport/tcp] Timed out"), ranks, store) == [1, 3]
    assert distributed._silent(RuntimeError("out of memory"), ranks, dist.HashStore()) == []


def test_gradients_of_micro_batches_are_sharded_at_once(tmp_path):
    import torch
    import torch.distributed as dist  # noqa: TID251 - a group of one, so that a shard is the whole

    from dnar2mae.modalities.registry import build_modality
    from dnar2mae.training.build import build_model

    config = replace(dna(tmp_path), parallel="fsdp")
    modality = build_modality(config)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        model = build_model(config, modality, sharded=True)
        parallel = distributed.parallelise(model, config, Ranks(0, 2))
        plan = Masker(config.mask, modality.vocabulary, 0, 10).plan(0)
        first, last = modality.train.batch(np.arange(4)).split(2)
        grads = []
        for part in (first, last):
            with parallel.accumulate(part is last):
                parallel.losses(plan, part)[0].sum().backward()
            grads.append(model.encoder.layers[0].qkv.weight.grad.to_local().clone())
        assert not torch.equal(*grads)
    finally:
        dist.destroy_process_group()
