"""A small run that can be started, killed and compared, many times a minute."""

import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from dnar2mae import DataConfig, ModelConfig, OptimizerConfig, PretrainConfig
from dnar2mae.run.checkpoint import checkpoints
from dnar2mae.run.config_file import write_config
from dnar2mae.run.metrics import read_metrics

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["dnar2mae.training.pretrain", "dnar2mae.cli.pretrain", "tests.torture.preload"])
_RATES = {"tokens_per_s"}  # of metrics: they depend on the machine


def write_genome(path: Path) -> Path:
    """30 kb of random bases in two sequences."""
    draw = random.Random(0)
    path.write_text("".join(f">{name}\n{''.join(draw.choices('ACGT', k=15_000))}\n" for name in ("one", "two")))
    return path


class Run:
    """One run directory and the process that works on it."""

    def __init__(self, folder: Path, genome: Path, out: Path | None = None, **settings: object) -> None:
        self.out, self.log = out or folder / "run", folder / "log.txt"
        self.genome = genome
        self.config = PretrainConfig(
            data=DataConfig(genomes=(str(genome),), window_bp=64),
            model=ModelConfig(width=16, depth=1, heads=2, mlp_width=16),
            optimizer=OptimizerConfig(warmup_steps=5),
            **{"steps": 60, "batch_size": 4, "checkpoint_every": 5, "validate_every": 20, **settings},
            validation_windows=16,
            device="cpu",
            precision="fp32",
        )
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "config.yaml"
        write_config(self.config, self._file)
        self.process: multiprocessing.process.BaseProcess | None = None

    def start(self, num_workers: int = 0) -> None:
        """Start, or go on where there is something to go on with, in a process group of its own."""
        resume = ["--resume"] if (self.out / "config.yaml").exists() else []
        line = ["pretrain", "--config", str(self._file), "--out", str(self.out), *resume]
        line += ["--num-workers", str(num_workers)]
        environment = {name: os.environ[name] for name in ("DNAR2MAE_CACHE",)}
        self._before = len(self.messages())
        self.process = _CONTEXT.Process(target=_work, args=(line, self.log, environment))
        self.process.start()
        assert self.process.pid is not None
        while os.getpgid(self.process.pid) != self.process.pid:
            time.sleep(0.001)

    def end(self, timeout_s: float = 120) -> int:
        """Wait for the process; its exit code, negative for a signal."""
        assert self.process is not None
        self.process.join(timeout_s)
        if self.process.exitcode is None:
            self.process.kill()
            raise AssertionError(f"{self.out}: still running after {timeout_s} s")
        return self.process.exitcode

    def finish(self) -> int:
        """Start and wait."""
        self.start()
        return self.end()

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send a signal to the process and its workers, as a terminal or a scheduler does, and wait."""
        assert self.process is not None
        assert self.process.pid is not None
        os.killpg(self.process.pid, number)
        return self.end()

    def wait_for_checkpoints(self, count: int) -> None:
        """Return when there are that many, or the process has ended."""
        assert self.process is not None
        while self.process.is_alive() and len(checkpoints(self.out)) < count:
            time.sleep(0.002)

    def messages(self) -> str:
        """What the processes have said so far."""
        return self.log.read_text() if self.log.exists() else ""

    def said(self) -> str:
        """What the last process has said so far."""
        return self.messages()[self._before :]

    def rows(self) -> list[dict[str, Any]]:
        """Metrics so far, but for the rates."""
        return [{k: v for k, v in row.items() if k not in _RATES} for row in read_metrics(self.out)]

    def weights(self) -> dict[str, torch.Tensor]:
        """Weights after the last step."""
        last = checkpoints(self.out)[-1]
        assert last.name == f"step-{self.config.steps:08d}", f"{self.out} ended at {last.name}"
        return load_file(last / "model.safetensors")

    def clear(self) -> None:
        """Forget the run."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.log.unlink(missing_ok=True)


def _work(line: list[str], log: Path, environment: dict[str, str]) -> None:
    try:
        os.environ.update(environment)
        with log.open("a", buffering=1) as file:
            os.dup2(file.fileno(), 2)
            os.dup2(file.fileno(), 1)
        torch.set_num_threads(1)
        from dnar2mae.cli import main

        os.setpgid(0, 0)
        code = main(line)
    except KeyboardInterrupt:  # before the command or after it
        code = 130
    sys.stderr.flush()
    os._exit(code)  # at once, as if the interpreter had nothing else to do
