"""What each rank of the tests of several processes does: runs, one after the other, in groups of torchrun's making."""

import os
from dataclasses import replace
from itertools import count
from pathlib import Path

import torch

from dnar2mae import pretrain
from dnar2mae.run.config_file import read_config
from dnar2mae.training.stopping import StopRequests


def main(jobs):
    """Each job is (config file, run directory, parallel, step at which a time limit ends it or None, resume)."""
    if "WORLD_SIZE" in os.environ:
        torch.distributed.init_process_group("gloo")  # noqa: TID251 - one group for all jobs
    for config, out, parallel, stop_at, resume in jobs:
        steps = count(1)
        StopRequests.after_step = lambda _, steps=steps, at=stop_at: "test" if next(steps) == at else None
        pretrain(replace(read_config(Path(config)), parallel=parallel), out, resume=resume)
    if "WORLD_SIZE" in os.environ:
        torch.distributed.destroy_process_group()  # noqa: TID251
