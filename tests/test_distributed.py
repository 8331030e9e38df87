"""The same run on 1, 2 and 4 processes, under DDP and FSDP, and carried from one shape to another."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from dnar2mae import MaskConfig
from dnar2mae.checkpoint import checkpoints
from dnar2mae.config_file import write_config
from dnar2mae.distributed import Ranks, start_ranks
from dnar2mae.errors import ConfigError
from dnar2mae.trainer import batches
from tests.modalities.kinds import dna
from tests.rank_main import main

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
    """Fifty steps on one process, and what 2 and 4 made of the same configuration."""
    folder = tmp_path_factory.mktemp("ranks")
    os.environ["DNAR2MAE_CACHE"] = str(folder / "cache")
    config = replace(
        dna(folder), steps=50, validate_every=25, checkpoint_every=25, micro_batch=1, mask=MaskConfig(per="sample")
    )
    file = folder / "config.yaml"
    write_config(config, file)

    def job(name, parallel="ddp", stop_at=None, resume=False):
        return [str(file), str(folder / name), parallel, stop_at, resume]

    main([job("one"), job("begun by one", stop_at=30)])
    torchrun(4, [job("ddp of 4"), job("fsdp of 4", "fsdp"), job("begun by fsdp of 4", "fsdp", stop_at=30)])
    main([job("begun by fsdp of 4", resume=True)])
    torchrun(2, [job("ddp of 2"), job("fsdp of 2", "fsdp"), job("begun by one", "fsdp", resume=True)])
    return folder


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name", ["ddp of 2", "ddp of 4", "fsdp of 2", "fsdp of 4", "begun by fsdp of 4", "begun by one"]
)
def test_a_run_goes_the_same_way_in_any_shape(runs, name):
    assert_same_run(runs / name, runs / "one")


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


def start_torchrun(size, code, *arguments, restarts=0):
    """Begin a group of processes that run a piece of code."""
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size)]
    line += ["--max-restarts", str(restarts), "--no-python", sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(line, cwd=ROOT, env=environment, text=True, stderr=subprocess.PIPE)


PRETRAIN = """
import os, signal, sys
from dnar2mae import trainer
from dnar2mae.cli import main
step = trainer.Trainer.training_step
def dying(self, batch):
    fresh = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    if fresh and self.step == int(sys.argv[1]) and self.ranks.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch)
trainer.Trainer.training_step = dying
sys.exit(main(["pretrain", "--config", sys.argv[2], "--out", sys.argv[3]]))
"""


@pytest.mark.timeout(300)
def test_a_group_that_lost_a_rank_starts_again_and_resumes(tmp_path):
    config = replace(dna(tmp_path), checkpoint_every=4)
    write_config(config, tmp_path / "config.yaml")
    main([[str(tmp_path / "config.yaml"), str(tmp_path / "whole"), "ddp", None, False]])
    process = start_torchrun(2, PRETRAIN, 10, tmp_path / "config.yaml", tmp_path / "killed", restarts=1)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors[-3000:]
    assert "resuming from" in errors
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.timeout(300)
def test_without_restarts_a_lost_rank_ends_the_job_and_is_named(tmp_path):
    write_config(dna(tmp_path), tmp_path / "config.yaml")
    process = start_torchrun(2, PRETRAIN, 3, tmp_path / "config.yaml", tmp_path / "run")
    _, errors = process.communicate(timeout=240)
    assert process.returncode != 0
    assert "local_rank: 1" in errors
    assert "exitcode: -9" in errors.replace("exitcode  :", "exitcode:")


@pytest.mark.timeout(300)
def test_a_preempted_group_saves_and_stops(tmp_path):
    config = replace(dna(tmp_path), steps=100_000, checkpoint_every=50_000, validate_every=50_000)
    write_config(config, tmp_path / "config.yaml")
    run = tmp_path / "run"
    process = start_torchrun(2, PRETRAIN, -1, tmp_path / "config.yaml", run)
    while not (run / "metrics.jsonl").exists() or (run / "metrics.jsonl").read_text().count("\n") < 20:
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "SIGTERM: saved step" in errors
    assert len(checkpoints(run)) == 1
