"""The one pretraining loop, the same for every kind of data.

Batches, masks and schedules are pure functions of the step, so a run that resumes from a checkpoint of step n does
from there on what an undisturbed run does.
"""

import errno
import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dnar2mae import validation
from dnar2mae.checkpoint import checkpoints, find_checkpoint, load_checkpoint, prune, save_checkpoint, step_name
from dnar2mae.config import ModelConfig, PretrainConfig, TokenizerConfig
from dnar2mae.config_file import read_config
from dnar2mae.errors import ConfigError, RunError
from dnar2mae.kernels.backend import use_triton
from dnar2mae.masking import Masker, MaskPlan, draw_ratio, prediction_capacity
from dnar2mae.modalities.contract import Batch, Modality, Source
from dnar2mae.modalities.registry import build_modality
from dnar2mae.models import MaskedModel
from dnar2mae.models.attention import choose_backend
from dnar2mae.monitor import Monitor
from dnar2mae.optimizer import build_optimizer, learning_rate, scale_and_clip
from dnar2mae.plots import plot_run
from dnar2mae.run_directory import RunDirectory

_STEPS_BETWEEN_READINGS = 10  # losses stay on the device until then, so that the host never waits for a step


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """What a run reached; also saved as ``summary.json``."""

    out: str
    """Run directory."""
    steps: int
    """Steps done."""
    finished: bool
    """False if the run was interrupted and can be resumed."""
    parameters: int
    """Number of weights."""
    seconds: float
    """Wall-clock time of this process's training steps and validations."""
    unit: str = ""
    """Unit of the losses below."""
    held_out: float = math.nan
    """Held-out loss at mask ratio 0.15."""
    untrained: float = math.nan
    """The same of the model before its first step."""
    curve: dict[str, float] = field(default_factory=dict)
    """Held-out loss by mask ratio."""
    yardstick: dict[str, float] = field(default_factory=dict)
    """Held-out loss of trivial models fitted on the same training data."""
    data: dict[str, Any] = field(default_factory=dict)
    """What it was trained on."""


class StepBatches(Dataset):
    """The batch of each step: samples ``step * batch_size`` to ``(step + 1) * batch_size``."""

    def __init__(self, source: Source, batch_size: int) -> None:
        self.source, self.batch_size = source, batch_size

    def __getitem__(self, step: int) -> Batch:
        """Batch of a step."""
        return self.source.batch(np.arange(step * self.batch_size, (step + 1) * self.batch_size))


def batches(source: Source, config: PretrainConfig, first_step: int, *, pin_memory: bool = False) -> DataLoader:
    """Batches of the steps from ``first_step`` on, prepared ahead by ``num_workers`` processes."""
    workers = config.num_workers
    return DataLoader(
        StepBatches(source, config.batch_size),
        batch_size=None,
        sampler=range(first_step, config.steps),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="forkserver" if workers else None,
        pin_memory=pin_memory,
    )


def pretrain(config: PretrainConfig, out: str | Path, *, resume: bool = False, overwrite: bool = False) -> RunResult:
    """Pretrain a masked model and write a run directory.

    Parameters
    ----------
    config
        The whole run.
    out
        Run directory: gets ``config.yaml``, ``environment.json``, ``metrics.jsonl``, ``checkpoints/``,
        ``summary.json`` and ``loss.png``.
    resume
        Go on from the last checkpoint in ``out``; with none there yet, start.
    overwrite
        Remove an earlier run in ``out`` first.

    Returns
    -------
    RunResult
        Held-out losses and the yardstick. SIGINT and SIGTERM save a checkpoint and return early with
        ``finished=False``.

    Raises
    ------
    Dnar2maeError
        For bad input, an unusable ``out``, a loss that is not finite, or a full disk: one line that says what to do.
    """
    run = RunDirectory(Path(out))
    start = initial_weights(config) if config.init else None
    if start is not None:
        config = replace(config, model=start.model, tokenizer=start.tokenizer)
    run.check(config, resume=resume, overwrite=overwrite)
    device, autocast = choose_device(config)
    modality = build_modality(config, run.path if resume else start.saved if start else None)
    modality.open()
    trainer = Trainer(config, modality, run, device, autocast)
    run.create(config, overwrite=overwrite)
    try:
        modality.save(run.path)
        return trainer.run(resume=resume)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise RunError(f"{run.path}: no space left on the disk; {_last_good(run)}") from error


def choose_device(config: PretrainConfig) -> tuple[torch.device, torch.dtype | None]:
    """Device of a run and the type of its matrix products (None: that of the weights, fp32).

    Raises
    ------
    ConfigError
        If the device does not exist or has no bfloat16 although asked for.
    """
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--device must be one that this machine has, got {name}: {reason}") from error
    if device.type == "cuda":
        torch.cuda.set_device(device)  # where Triton launches
    if config.precision == "fp32":
        return device, None
    fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_amx_tile_supported()
    return device, torch.bfloat16 if fast or config.precision == "bf16" else None


def build_model(config: PretrainConfig, modality: Modality) -> MaskedModel:
    """Model of a run with its initial weights, a pure function of the configuration, on the CPU."""
    model = MaskedModel(
        config.model,
        modality.embedder(),
        modality.head(),
        modality.layout,
        gradient_checkpointing=config.gradient_checkpointing,
        attention=config.attention,
        kernels=config.kernels,
    )
    model.reset_parameters(torch.Generator().manual_seed(config.seed))
    if config.init:
        initial_weights(config).load(model)
    return model


@dataclass(frozen=True, slots=True)
class InitialWeights:
    """What ``--init`` names."""

    model: ModelConfig
    tokenizer: TokenizerConfig
    saved: Path | None
    """The run directory, if it is one or a checkpoint of one."""
    load: Callable[[MaskedModel], object]
    """Puts the weights into a model."""


def initial_weights(config: PretrainConfig) -> InitialWeights:
    """Read what ``--init`` names: a run or a checkpoint of the same kind of data, or a ModernBERT folder.

    Raises
    ------
    RunError
        If it is none of these, or of another kind of data.
    """
    path = Path(str(config.init))
    found = find_checkpoint(path)
    if found is None:
        from dnar2mae.hub import Model  # which imports this module

        model = Model.from_pretrained(path, device="cpu")
        tokenizer = TokenizerConfig(k=model.tokenizer.k, stride=model.tokenizer.stride)
        weights = model.module.state_dict()
        return InitialWeights(model.config, tokenizer, None, lambda to: to.load_state_dict(weights))
    run, checkpoint = found
    before = read_config(run / "config.yaml")
    if before.modality != config.modality:
        raise RunError(f"--init {path}: expected a run on {config.modality}, got one on {before.modality}")
    return InitialWeights(before.model, before.tokenizer, run, lambda to: load_checkpoint(checkpoint, to))


class Trainer:
    """One run in progress.

    Parameters
    ----------
    config, modality, run
        What to train, on what, and where to write.
    device, autocast
        See :func:`choose_device`.
    """

    def __init__(
        self,
        config: PretrainConfig,
        modality: Modality,
        run: RunDirectory,
        device: torch.device,
        autocast: torch.dtype | None,
    ) -> None:
        self.config, self.modality, self.directory = config, modality, run
        self.device, self.autocast = device, autocast
        self.masker = Masker(config.mask, modality.vocabulary, config.seed, config.steps, modality.train)
        self.model = build_model(config, modality).to(device)
        self.parameters = list(self.model.parameters())
        self.optimizer = build_optimizer(self.model, config.optimizer)
        if config.compile:
            self.model.encoder.compile()
        self.unit_key = modality.unit.replace(" ", "_")
        self.step = 0
        self.history: list[tuple[int, float]] = []
        self._pending: list[dict[str, Any]] = []

    def run(self, *, resume: bool) -> RunResult:
        """Train to the last step, validate, and write the summary."""
        saved = checkpoints(self.directory.path) if resume else []
        if saved:
            state = load_checkpoint(saved[-1], self.model, self.optimizer)
            self.step, self.history = state["step"], [(s, v) for s, v in state["history"]]
        self.directory.rewind_metrics(self.step if saved else -1)
        board = self.directory.path / "tensorboard" if self.config.tensorboard else None
        start = time.monotonic()
        with (
            Monitor(
                self.directory.metrics_file,
                total_steps=self.config.steps,
                first_step=self.step,
                tensorboard=board,
            ) as monitor,
            _stop_signals() as stop,
        ):
            monitor.say(self._describe())
            if saved:
                monitor.say(f"resuming from {saved[-1]}")
            if not self.history:
                self._validate(monitor)
            self._train(monitor, stop)
            finished = self.step == self.config.steps
            result = self._summary(finished, time.monotonic() - start)
        if finished:
            self.directory.summary_file.write_text(json.dumps(_plain(result), indent=1))
            plot_run(self.directory.metrics_file, _plain(result), self.directory.plot_file)
        return result

    def _describe(self) -> str:
        """Say in a line what will run where."""
        dtype = self.autocast or torch.float32
        count = sum(p.numel() for p in self.parameters)
        backend = choose_backend(self.config.attention, self.device, dtype)
        triton = use_triton(self.config.kernels, self.parameters[0], self.masker.plan(0))
        kernels = "triton" if triton else "reference"
        if self.masker.plan(0).placement is not None:
            kernels += f" (the fused ones do not know --mask.placement {self.config.mask.placement})"
        return (
            f"{count / 1e6:.2f} M parameters on {self.device}, {str(dtype).removeprefix('torch.')}, "
            f"attention {backend}, masking kernels {kernels}; writing to {self.directory.path}"
        )

    def _train(self, monitor: Monitor, stop: list[int]) -> None:
        config = self.config
        pin = self.device.type == "cuda"
        loader = batches(self.modality.train, config, self.step, pin_memory=pin)
        clock = time.monotonic()
        for batch in loader:
            self._pending.append(self.training_step(batch))
            last = self.step == config.steps
            validate = last or self.step % config.validate_every == 0
            save = last or bool(stop) or self.step % config.checkpoint_every == 0
            if validate or save or self.step % _STEPS_BETWEEN_READINGS == 0:
                elapsed, clock = time.monotonic() - clock, time.monotonic()
                self._read(monitor, elapsed)
            if validate:
                self._validate(monitor)
            if save:
                self.save()
            if stop and not last:
                name = signal.Signals(stop[0]).name
                monitor.say(f"{name}: saved step {self.step}; go on with --resume")
                return
            if validate or save:
                clock = time.monotonic()

    def training_step(self, batch: Batch) -> dict[str, Any]:
        """Do one optimizer step; the loss is the mean over the predicted tokens of the whole batch.

        Under ``mask.weighting = "token"`` the gradient is that of the sum over the predicted tokens, divided by the
        summed weight of the batch's maskable tokens times the share of them that the law predicts on average: the
        same divisor in every step of full samples, so that a step counts by how much it predicts.

        Parameters
        ----------
        batch
            On the CPU.

        Returns
        -------
        dict
            ``step``, ``loss`` (mean over predicted tokens), ``unit_loss`` (the same in the modality's unit),
            ``ratio``, ``lr`` and ``grad_norm``; losses and norm are tensors still on the device.
        """
        config, plan = self.config, self.masker.plan(self.step)
        expected = batch.tokens.numel() * 0.15  # keeps the accumulated gradient of the sum near that of the mean
        total, weight, units = torch.zeros(3, device=self.device)
        for part in batch.split(config.micro_batch or config.batch_size):
            loss, seen, stood_for = self._loss(plan, part)
            (loss / expected).backward()
            total += loss.detach()
            weight += seen
            units += stood_for
        one = divisor = weight.clamp(min=1e-6)
        if config.mask.weighting == "token":
            divisor = (batch.weight * batch.maskable).sum().clamp(min=1e-6).to(one) * self.masker.expected_share
        norm = scale_and_clip(self.parameters, expected / divisor * (weight > 0), config.optimizer.clip)
        rate = learning_rate(self.step, config.steps, config.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        ratio = draw_ratio(plan, batch.sample_ids).mean().item()
        unit_loss = total / units.clamp(min=1e-6) / self.modality.unit_size
        return {
            "step": self.step,
            "loss": total / one,
            "unit_loss": unit_loss,
            "ratio": ratio,
            "lr": rate,
            "grad_norm": norm,
        }

    def _loss(self, plan: MaskPlan, part: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Weighted sum of a micro-batch's losses, of the weights, and of the units they stand for."""
        capacity = None  # on the CPU sizes are known; elsewhere they must not be asked for
        if self.device.type != "cpu":
            capacity = prediction_capacity(plan, part.sample_ids, part.tokens.shape[1])
        part = part.to(self.device)
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            losses, index = self.model.masked_losses(plan, part, capacity=capacity)
        place = index.clamp(min=0)
        weights = part.weight.flatten()[place] * (index >= 0)
        units = weights if part.units is None else weights * part.units.flatten()[place]
        return (losses * weights).sum(), weights.sum(), units.sum()

    def _read(self, monitor: Monitor, elapsed: float) -> None:
        """Fetch the pending losses from the device, check and record them."""
        tokens = self.config.batch_size * self.modality.layout.tokens * len(self._pending)
        rows = []
        for row in self._pending:
            values = {k: v.item() if isinstance(v, Tensor) else v for k, v in row.items()}
            loss = values["loss"]
            if not (math.isfinite(loss) and math.isfinite(values["grad_norm"])):
                raise RunError(
                    f"step {values['step']}: the loss is {loss} and the gradient norm {values['grad_norm']}; "
                    f"{_last_good(self.directory)}. A lower --optimizer.lr may help"
                )
            rows.append(
                {
                    "step": values["step"],
                    "loss": loss,
                    self.unit_key: values["unit_loss"],
                    "ratio": values["ratio"],
                    "lr": values["lr"],
                    "grad_norm": values["grad_norm"],
                    "tokens_per_s": tokens / max(elapsed, 1e-9),
                }
            )
        self._pending.clear()
        monitor.train(rows)

    def held_out(self, ratio: float, num_samples: int) -> float:
        """Held-out loss at a mask ratio, in the modality's unit."""
        loss = validation.masked_loss(
            self.model,
            self.modality.validation,
            self.masker.plan(self.step),
            ratio=ratio,
            num_samples=num_samples,
            autocast=self.autocast,
        )
        return loss / self.modality.unit_size

    def _validate(self, monitor: Monitor) -> None:
        value = self.held_out(validation.RATIO, self.config.validation_windows)
        best = all(value < earlier for _, earlier in self.history)
        self.history.append((self.step, value))
        monitor.validation({"step": self.step, "held_out": value})
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            for name in ("last", "best") if best else ("last",):
                self.modality.illustrate(self.model, self.directory.path / f"held_out-{name}")
        if best and self.step:
            self.save("best")

    def save(self, name: str | None = None) -> None:
        """Write a checkpoint of the present step and remove those past ``keep_checkpoints``."""
        folder = self.directory.checkpoint_folder / (name or step_name(self.step))
        state = {"step": self.step, "history": self.history}
        save_checkpoint(folder, self.model, self.optimizer, state)
        prune(self.directory.path, self.config.keep_checkpoints)

    def _summary(self, finished: bool, seconds: float) -> RunResult:
        config = self.config
        count = sum(p.numel() for p in self.parameters)
        result: dict[str, Any] = {
            "out": str(self.directory.path),
            "steps": self.step,
            "finished": finished,
            "parameters": count,
            "seconds": seconds,
        }
        if not finished:
            return RunResult(**result)
        curve = {str(r): self.held_out(r, config.validation_windows) for r in validation.CURVE}
        return RunResult(
            **result,
            unit=self.modality.unit,
            held_out=self.held_out(validation.RATIO, 4 * config.validation_windows),
            untrained=self.history[0][1],
            curve=curve,
            yardstick=self.modality.yardstick(),
            data=self.modality.report(),
        )


def _plain(result: RunResult) -> dict[str, Any]:
    return {name: getattr(result, name) for name in result.__slots__}


def _last_good(run: RunDirectory) -> str:
    saved = checkpoints(run.path)
    return f"the last good checkpoint is {saved[-1]}" if saved else "no checkpoint was written before that"


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying of them; a second one of the same kind does its usual work."""
    received: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, frame: Any) -> None:
        received.append(number)
        signal.signal(number, before[number])

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, note)
    except ValueError:  # not in the main thread: signals stay the caller's business
        pass
    try:
        yield received
    finally:
        for earlier, handler in before.items():
            signal.signal(earlier, handler)
