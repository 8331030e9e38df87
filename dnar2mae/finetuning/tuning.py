"""``finetune``: train a pretrained model on labels and write its run directory."""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from dnar2mae.config import PretrainConfig
from dnar2mae.distributed import ALONE, Ranks, start_ranks
from dnar2mae.errors import ConfigError, RunError
from dnar2mae.finetuning.answers import answer_table
from dnar2mae.finetuning.calibration import calibrated, calibration, plot_calibration
from dnar2mae.finetuning.data import OpenedData, fingerprint, open_data
from dnar2mae.finetuning.network import TunedNetwork, VectorsOnly, make_trainable, reading_of, seeded
from dnar2mae.finetuning.options import FinetuneConfig, Method
from dnar2mae.finetuning.plot import plot_losses
from dnar2mae.finetuning.problem import EncodedSamples, SampleProblem, outputs_of
from dnar2mae.finetuning.result import FinetuneResult, Scores
from dnar2mae.finetuning.saved import TunedDirectory
from dnar2mae.finetuning.tuner import MemoryTuner, Rate, Tuner, loop_settings
from dnar2mae.finetuning.yardsticks import fit_yardsticks
from dnar2mae.inference.loading import TrainedModel, load
from dnar2mae.run.checkpoint import checkpoints, recover
from dnar2mae.storage.safe_files import written_whole
from dnar2mae.training.device import choose_device
from dnar2mae.training.monitor import Monitor
from dnar2mae.training.stopping import StopRequests

RANDOM = "random weights"
_STANDARDISED = 1024  # samples whose vectors set the head's shift and scale
_MOST_BYTES = 2 << 30  # of vectors that are kept
_FLOOR = 1e-2  # of the mean standard deviation: a direction that hardly varies must not be blown up


def finetune(
    config: FinetuneConfig, out: str | Path, *, resume: bool = False, overwrite: bool = False
) -> FinetuneResult:
    """Fine-tune a pretrained model on labels and write a run directory.

    Parameters
    ----------
    config
        All settings.
    out
        Run directory; see :mod:`dnar2mae.finetuning.saved`.
    resume
        Go on from the last checkpoint in ``out``; with none there yet, start.
    overwrite
        Remove an earlier run in ``out`` first, but no other files.

    Returns
    -------
    FinetuneResult
        Scores on test. SIGINT, SIGTERM and SIGUSR1 save a checkpoint and return early with ``finished=False``.

    Raises
    ------
    Dnar2maeError
        For bad input, an unusable ``out``, or gradients that are not finite: one line that says what to do.
    """
    if not config.model:
        raise ConfigError(
            "name the pretrained model that is to be fine-tuned: a run, a checkpoint or an exported folder"
        )
    run = TunedDirectory(Path(out))
    machine: PretrainConfig = PretrainConfig(
        device=config.device, precision=config.precision, batch_size=config.batch_size
    )
    device, autocast = choose_device(machine)
    with start_ranks(machine, device) as ranks:
        if ranks.is_first:
            run.check(config, resume=resume, overwrite=overwrite)
        begun = resume and bool(checkpoints(run.path)) and run.backbone_folder.is_dir()
        trained = run.read_backbone(device) if begun else load(config.model, device=str(device))
        data = open_data(config, trained)
        held: AbstractContextManager = nullcontext()
        if ranks.is_first:
            held = run.hold(config, resume=resume, overwrite=overwrite, data=fingerprint(config))
        with held:
            if ranks.is_first:
                recover(run.path)
                if not begun:
                    run.save_backbone(trained)
                    run.save_target(data.problem.target)
            ranks.wait()
            return FineTuning(config, trained, data, run, Computing(autocast, ranks)).run(resume=resume)


class Computing(NamedTuple):
    """How a fine-tuning computes."""

    autocast: torch.dtype | None = None
    ranks: Ranks = ALONE


class FineTuning(Tuner[FinetuneResult]):
    """One fine-tuning in progress, with a run directory.

    Parameters
    ----------
    config
        The settings.
    trained
        The pretrained model, which is changed.
    data
        What is learned from.
    run
        Where to write.
    computing
        Precision and ranks.
    """

    directory: TunedDirectory
    model: TunedNetwork
    problem: SampleProblem

    def __init__(
        self, config: FinetuneConfig, trained: TrainedModel, data: OpenedData, run: TunedDirectory, computing: Computing
    ) -> None:
        self.config, self.trained, self.data, self.autocast = config, trained, data, computing.autocast
        network = build_network(trained, data.problem, config)
        loop = loop_settings(
            config,
            data.problem.num_rows,
            checkpoint_every=config.checkpoint_every,
            keep_checkpoints=config.keep_checkpoints,
            max_hours=config.max_hours,
            tensorboard=config.tensorboard,
            dtype=str(computing.autocast or torch.float32).removeprefix("torch."),
            precision=config.precision,
        )
        rate = Rate(config.peak_lr, config.seed, config.layer_decay if config.method == "full" else 1.0)
        problem = encoded_once(data.problem, network, config.method)
        super().__init__(network, problem, config, rate, loop=loop, run=run, ranks=computing.ranks)

    def load_newest(self) -> tuple[Path, dict[str, Any]] | None:
        """Load the newest checkpoint; see :meth:`.Loop.load_newest`.

        Raises
        ------
        RunError
            If the run has begun and none of its checkpoints is whole: the pretrained weights are read only once.
        """
        newest = super().load_newest()
        if newest is None and checkpoints(self.directory.path):
            raise RunError(f"{self.directory.path}: no checkpoint is whole; start again with --overwrite")
        return newest

    def describe(self) -> str:
        """Return what is trained, and what was found in the data."""
        learned = sum(parameter.numel() for parameter in self.learned)
        total = sum(parameter.numel() for parameter in self.parameters)
        first = (
            f"{learned / 1e6:.2f} of {total / 1e6:.2f} M parameters are trained ({self.config.method}) on "
            f"{self.device}, {self.settings.steps:,} steps at most; writing to {self.directory.path}"
        )
        return "\n".join([first, *self.data.notes])

    def unfinished(self, begun: float) -> FinetuneResult:
        """Return the result of a run that was stopped before its last step."""
        return FinetuneResult(finished=False, **self._progress(begun))

    def _progress(self, begun: float) -> dict[str, Any]:
        return {
            "out": str(self.directory.path),
            "steps": self.step,
            "parameters": sum(parameter.numel() for parameter in self.parameters),
            "learned": sum(parameter.numel() for parameter in self.learned),
            "seconds": time.monotonic() - begun,
            "notes": self.data.notes,
        }

    def finish(self, begun: float, monitor: Monitor, stop: StopRequests) -> FinetuneResult:
        """Calibrate on dev, score on test beside the yardsticks, write the summary and the plots."""
        monitor.begin("scores on test", 1 + self.config.baselines)
        self.take_best()
        problem = self.problem
        with self.precision():
            dev, test = (problem.rows(self.model, problem.ids(part), stop.check) for part in ("dev", "test"))
        target = calibrated(problem.target, dev)
        monitor.advance()
        step, value = self.best
        result = FinetuneResult(
            finished=True,
            **self._progress(begun),
            target=target.to_dict(),
            main=target.main,
            rows={part: len(problem.ids(part)) for part in ("train", "dev", "test")},
            scores=test.scores(target),
            yardsticks=self._yardsticks(monitor, stop) if self.config.baselines else {},
            ceiling=self._ceiling(),
            best={"step": step, "held_out": value},
            calibration=calibration(target, test) if target.is_probability else {},
        )
        if self.ranks.is_first:
            run = self.directory
            run.save_target(target)
            with written_whole(run.predictions_file) as partial:
                answer_table(problem.samples, test, target).to_csv(partial, index=False)
            result.save(run.summary_file)
            plot_losses(run.path, run.plot_file, step)
            if target.is_probability:
                plot_calibration(result.calibration, run.calibration_file)
        return result

    def _yardsticks(self, monitor: Monitor, stop: StopRequests) -> dict[str, Scores]:
        fitted = dict(fit_yardsticks(self.problem, self.trained, stop.check))
        monitor.advance()
        monitor.begin("the same from random weights", self.settings.steps)
        return fitted | {RANDOM: self._from_random_weights(monitor, stop)}

    def _from_random_weights(self, monitor: Monitor, stop: StopRequests) -> Scores:
        """Return the scores of the same network without pretraining; where it is frozen, so are the random weights."""
        method: Method = "frozen" if self.config.method == "frozen" else "full"
        config = replace(self.config, method=method, layer_decay=1.0)
        untrained = self.trained.random_like(self.config.seed)
        network = build_network(untrained, self.data.problem, config)
        problem = encoded_once(self.data.problem, network, method)
        tuner = MemoryTuner(network, problem, config, Rate(config.peak_lr, config.seed), ranks=self.ranks)
        tuner.on_step, tuner.autocast = monitor.advance, self.autocast
        tuner.run(stop=stop)
        with self.precision():
            return problem.rows(network, problem.ids("test"), stop.check).scores(problem.target)

    def _ceiling(self) -> Scores:
        if self.data.truth is None:
            return {}
        ids, target = self.problem.ids("test"), self.problem.target
        return target.scores(target.of_truth(self.data.truth[ids]), self.problem.wanted[ids], np.arange(len(ids)))


def build_network(trained: TrainedModel, problem: SampleProblem, config: FinetuneConfig) -> TunedNetwork:
    """Put a head, drawn from the seed, on a model, and say which weights learn.

    Raises
    ------
    ConfigError
        The method is lora, and peft is not installed.
    """
    backbone = trained.model
    reading = reading_of(backbone, problem.target.per, config.pooling)
    ids = problem.ids("train")[:_STANDARDISED]
    headless = VectorsOnly(backbone, reading)
    if reading == "tokens":
        ids = ids[:: max(len(ids) // 64, 1)]
    found = outputs_of(headless, problem.samples, ids)
    found = found.reshape(-1, found.shape[-1])
    found = found[~np.isnan(found).any(1)]
    shift, scale = torch.from_numpy(found.mean(0)), torch.from_numpy(found.std(0))
    scale = scale.clamp(min=max(float(scale.mean()) * _FLOOR, 1e-6))
    make_trainable(backbone, config.method, config, config.seed)
    with seeded(config.seed):
        network = TunedNetwork(backbone, problem.target.num_outputs, shift, scale, reading=reading)
    return network.to(trained.device)


def encoded_once(problem: SampleProblem, network: TunedNetwork, method: str) -> SampleProblem:
    """Return the problem with samples that are encoded once, where the model is frozen and memory allows it."""
    size = len(problem.samples) * len(network.shift) * 4 * (1 + problem.both_strands)
    if method != "frozen" or network.reading == "tokens" or size > _MOST_BYTES:
        return problem
    return replace(problem, samples=EncodedSamples(problem.samples, network.backbone, network.reading))
