"""The same run on 1, 2 and 4 processes, under DDP and FSDP, and carried from one shape to another."""

import json
import os
import subprocess
import sys
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
