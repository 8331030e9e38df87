"""The one pretraining loop, the same for every kind of data.

Batches, masks and schedules are pure functions of the step, so a run that resumes from a checkpoint of step n does
from there on what an undisturbed run does.
"""

import errno
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dnar2mae.batch import Batch, Source
from dnar2mae.config import PretrainConfig
from dnar2mae.distributed import ALONE, Ranks, local_shard, parallelise, start_ranks
from dnar2mae.errors import RunError
from dnar2mae.kernels.backend import use_triton
from dnar2mae.masking import Masker, MaskPlan, draw_ratio, prediction_capacity
from dnar2mae.masking.draw import RATIO
from dnar2mae.modalities.contract import Modality
from dnar2mae.modalities.registry import build_modality
from dnar2mae.models.attention import choose_backend
from dnar2mae.run.checkpoint import Snapshot, checkpoints, give_shards, load_newest, recover, step_name
from dnar2mae.run.checkpoint_writer import CheckpointWriter
from dnar2mae.run.directory import RunDirectory
from dnar2mae.run.metrics import rewind_metrics
from dnar2mae.run.plot import plot_run
from dnar2mae.run.result import RunResult
from dnar2mae.storage.cache import own_compile_cache
from dnar2mae.training.build import build_model
from dnar2mae.training.device import choose_device
from dnar2mae.training.monitor import Monitor
from dnar2mae.training.optimizer import StepGuard, build_optimizer, learning_rate, scale_and_clip
from dnar2mae.training.start import InitialWeights, starting_point
from dnar2mae.training.stopping import StopRequested, StopRequests, ignore_signals, start_forkserver
from dnar2mae.training.validation import CURVE, masked_loss

_STEPS_BETWEEN_READINGS = 10  # losses stay on the device until then, so that the host never waits for a step
_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)


class StepBatches(Dataset):
    """The batch of each step: samples ``step * batch_size`` to ``(step + 1) * batch_size``, or a rank's share."""

    def __init__(self, source: Source, batch_size: int, ranks: Ranks) -> None:
        self.source, self.batch_size, self.ranks = source, batch_size, ranks

    def __getitem__(self, step: int) -> Batch:
        """Batch of a step."""
        size = self.batch_size // self.ranks.size
        first = step * self.batch_size + self.ranks.rank * size
        return self.source.batch(np.arange(first, first + size))


def batches(
    source: Source, config: PretrainConfig, first_step: int, *, pin_memory: bool = False, ranks: Ranks = ALONE
) -> DataLoader:
    """Batches of the steps from ``first_step`` on, prepared ahead by ``num_workers`` processes."""
    workers = config.num_workers
    if workers:
        start_forkserver()
    return DataLoader(
        StepBatches(source, config.batch_size, ranks),
        batch_size=None,
        sampler=range(first_step, config.steps),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="forkserver" if workers else None,
        worker_init_fn=ignore_signals,
        pin_memory=pin_memory,
    )


def pretrain(config: PretrainConfig, out: str | Path, *, resume: bool = False, overwrite: bool = False) -> RunResult:
    """Pretrain a masked model and write a run directory.

    Parameters
    ----------
    config
        The whole run.
    out
        Run directory: gets ``config.yaml``, ``environment.json``, ``data.sha256``, ``metrics.jsonl``, ``checkpoints/``,
        ``summary.json`` and ``loss.png``.
    resume
        Go on from the last checkpoint in ``out``; with none there yet, start.
    overwrite
        Remove an earlier run in ``out`` first; other files there stay.

    Returns
    -------
    RunResult
        Held-out losses and the yardstick. SIGINT, SIGTERM and SIGUSR1 save a checkpoint and return early with
        ``finished=False``.

    Raises
    ------
    Dnar2maeError
        For bad input, an unusable ``out``, gradients that are not finite, or a full disk: one line that says what to
        do.

    Notes
    -----
    Under torchrun every process calls this; the first writes. A group that torchrun restarts resumes by itself.
    """
    run = RunDirectory(Path(out))
    device, autocast = choose_device(config)
    with start_ranks(config, device) as ranks:
        if ranks.restarted and run.is_of_this_job():
            resume, overwrite = True, False
        begun = run.path if resume and checkpoints(run.path) else None  # what it saved before counts for nothing
        config, start = starting_point(config, begun)
        if ranks.is_first:
            run.check(config, resume=resume, overwrite=overwrite)
        modality = build_modality(config, start.saved if start else begun)
        with ranks.first_on_each_node():  # builds caches, which the others then find
            modality.open()
        trainer = Trainer(config, modality, run, device, autocast, ranks=ranks, start=start)
        held: AbstractContextManager = nullcontext()
        if ranks.is_first:
            held = run.hold(config, resume=resume, overwrite=overwrite, data=modality.fingerprint())
        try:
            with held:
                if ranks.is_first:
                    recover(run.path)
                    modality.save(run.path)
                ranks.wait()
                return trainer.run(resume=resume)
        except OSError as error:
            if error.errno not in _DISK_IS_FULL:
                raise
            raise RunError(f"{run.path}: no space left on the disk; {_last_good(run)}") from error


class Trainer:
    """One run in progress.

    Parameters
    ----------
    config, modality, run
        What to train, on what, and where to write.
    device, autocast
        See :func:`dnar2mae.training.build.choose_device`.
    ranks
        The processes that train together.
    start
        What ``--init`` names, for a run without a checkpoint.
    """

    def __init__(
        self,
        config: PretrainConfig,
        modality: Modality,
        run: RunDirectory,
        device: torch.device,
        autocast: torch.dtype | None,
        *,
        ranks: Ranks = ALONE,
        start: InitialWeights | None = None,
    ) -> None:
        self.config, self.modality, self.directory, self.start = config, modality, run, start
        self.device, self.autocast, self.ranks = device, autocast, ranks
        self.masker = Masker(config.mask, modality.vocabulary, config.seed, config.steps, modality.train)
        self.is_sharded = ranks.size > 1 and config.parallel == "fsdp"
        self.model = build_model(config, modality, device, sharded=self.is_sharded)
        if start is not None:
            start.load(self.model)
        self.parameters = list(self.model.parameters())
        self.optimizer = build_optimizer(self.model, config.optimizer)
        self.guard = StepGuard(self.optimizer, config.optimizer.spike, device)
        if config.compile:
            own_compile_cache()
            self.model.encoder.compile()
        self.parallel = parallelise(self.model, config, ranks)
        self.writer = CheckpointWriter(run.path, config.keep_checkpoints)
        self.unit_key = modality.unit.replace(" ", "_")
        self.step = 0
        self.saved_step = -1
        self.history: list[tuple[int, float]] = []
        self._pending: list[dict[str, Any]] = []

    def run(self, *, resume: bool) -> RunResult:
        """Train to the last step, validate, and write the summary."""
        found = load_newest(self.directory.path, self.model, self.optimizer, self.ranks) if resume else None
        if found:
            _, state = found
            self.step = self.saved_step = state["step"]
            self.history = [(s, v) for s, v in state["history"]]
            self.guard.restore(state["guard"])
        elif self.config.init and self.start is None:
            raise RunError(
                f"{self.directory.path}: no checkpoint is whole, and --init is read only once; "
                "start again with --overwrite"
            )
        if self.ranks.is_first:
            rewind_metrics(self.directory.path, self.saved_step, validated=self._is_validated())
        board = self.directory.path / "tensorboard" if self.config.tensorboard else None
        start = time.monotonic()
        with (
            Monitor(
                self.directory.path if self.ranks.is_first else None,
                total_steps=self.config.steps,
                first_step=self.step,
                tensorboard=board,
            ) as monitor,
            self.writer,
            StopRequests(self.config.max_hours, self.ranks, self.device) as stop,
        ):
            monitor.say(self._describe())
            if found:
                monitor.say(f"resuming from {found[0]}")
            if self.start is not None:
                self.save()
            try:
                if self._validation_is_due():
                    self._validate(monitor, stop)
                self._train(monitor, stop)
                result = self._summary(start, stop)
            except StopRequested as request:
                if self.saved_step != self.step:
                    self.save()
                self.writer.wait()
                self.ranks.wait()  # torchrun ends those that outlive another
                monitor.say(f"{request}: saved step {self.step}; go on with --resume")
                return RunResult(finished=False, **self._progress(start))
        if self.ranks.is_first:
            result.save(self.directory.summary_file)
            plot_run(self.directory.path, asdict(result), self.directory.plot_file)
        return result

    def _describe(self) -> str:
        """Say in a line what will run where."""
        dtype = self.autocast or torch.float32
        count = sum(p.numel() for p in self.parameters)
        backend = choose_backend(self.config.attention, self.device, dtype)
        several = f" in {self.ranks.size} ranks ({self.config.parallel})" if self.ranks.size > 1 else ""
        triton = use_triton(self.config.kernels, self.parameters[0], self.masker.plan(0))
        kernels = "triton" if triton else "reference"
        if self.masker.plan(0).placement is not None:
            kernels += f" (the fused ones do not know --mask.placement {self.config.mask.placement})"
        return (
            f"{count / 1e6:.2f} M parameters on {self.device}{several}, {str(dtype).removeprefix('torch.')}, "
            f"attention {backend}, masking kernels {kernels}; writing to {self.directory.path}"
        )

    def _train(self, monitor: Monitor, stop: StopRequests) -> None:
        config = self.config
        pin = self.device.type == "cuda"
        loader = batches(self.modality.train, config, self.step, pin_memory=pin, ranks=self.ranks)
        clock = time.monotonic()
        for batch in loader:
            self._pending.append(self.training_step(batch))
            reason = stop.after_step()
            validate = self._validation_is_due()
            save = self.step == config.steps or self.step % config.checkpoint_every == 0
            if validate or save or reason or self.step % _STEPS_BETWEEN_READINGS == 0:
                elapsed, clock = time.monotonic() - clock, time.monotonic()
                self._read(monitor, elapsed)
            if reason:
                raise StopRequested(reason)
            if validate:
                self._validate(monitor, stop)
            if save:
                self.save()
            if validate or save:
                clock = time.monotonic()

    def _is_validated(self) -> bool:
        return bool(self.history) and self.history[-1][0] == self.step

    def _validation_is_due(self) -> bool:
        """Whether the present step has a validation that is still to be done (a stopped run may have left it out)."""
        is_time = self.step % self.config.validate_every == 0 or self.step == self.config.steps
        return is_time and not self._is_validated()

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
            ``ratio``, ``lr``, ``grad_norm``, and ``skipped``, how many steps in a row were left out; losses, norm and
            the last are tensors still on the device.
        """
        config, plan = self.config, self.masker.plan(self.step)
        expected = batch.tokens.numel() * 0.15  # keeps the accumulated gradient of the sum near that of the mean
        total, weight, units = torch.zeros(3, device=self.device)
        parts = batch.split(config.micro_batch or config.batch_size)
        for part in parts:
            with self.parallel.accumulate(part is parts[-1]):
                loss, seen, stood_for = self._loss(plan, part)
                (loss / expected).backward()
            total += loss.detach()
            weight += seen
            units += stood_for
        maskable = (batch.weight * batch.maskable).sum().to(total)
        self.ranks.all_sum_(total, weight, units, maskable)
        one = divisor = weight.clamp(min=1e-6)
        if config.mask.weighting == "token":
            divisor = maskable.clamp(min=1e-6) * self.masker.expected_share
        factor = self.ranks.size * expected / divisor * (weight > 0)  # gradients are averaged over ranks
        norm = scale_and_clip(self.parameters, factor, config.optimizer.clip)
        rate = learning_rate(self.step, config.steps, config.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        skipped = self.guard.step(norm)
        self.optimizer.zero_grad()
        self.step += 1
        ratio = draw_ratio(plan, torch.arange(config.batch_size) + (self.step - 1) * config.batch_size).mean().item()
        unit_loss = total / units.clamp(min=1e-6) / self.modality.unit_size
        return {
            "step": self.step,
            "loss": total / one,
            "unit_loss": unit_loss,
            "ratio": ratio,
            "lr": rate,
            "grad_norm": norm,
            "skipped": skipped,
        }

    def _loss(self, plan: MaskPlan, part: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Weighted sum of a micro-batch's losses, of the weights, and of the units they stand for."""
        capacity = None  # on the CPU sizes are known; elsewhere they must not be asked for
        if self.device.type != "cpu":
            capacity = prediction_capacity(plan, part.sample_ids, part.tokens.shape[1])
        part = part.to(self.device)
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            losses, index = self.parallel.losses(plan, part, capacity=capacity)
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
            if values["skipped"] >= self.config.max_skipped:
                raise RunError(
                    f"step {values['step']}: {values['skipped']:.0f} steps in a row were skipped, the loss is {loss} "
                    f"and the gradient norm {values['grad_norm']}; {_last_good(self.directory)}. A lower "
                    "--optimizer.lr may help"
                )
            rows.append(
                {
                    "step": values["step"],
                    "loss": loss,
                    self.unit_key: values["unit_loss"],
                    "ratio": values["ratio"],
                    "lr": values["lr"],
                    "grad_norm": values["grad_norm"],
                    **({"skipped": values["skipped"]} if values["skipped"] else {}),
                    "tokens_per_s": tokens / max(elapsed, 1e-9),
                }
            )
        self._pending.clear()
        self.writer.check()
        monitor.train(rows)

    def held_out(self, ratio: float, num_samples: int, check: Callable[[], object] = lambda: None) -> float:
        """Held-out loss at a mask ratio, in the modality's unit; ``check`` is called now and then, and may raise."""
        loss = masked_loss(
            self.model,
            self.modality.validation,
            self.masker.plan(self.step),
            ratio=ratio,
            num_samples=num_samples,
            autocast=self.autocast,
            ranks=self.ranks,
            check=check,
        )
        return loss / self.modality.unit_size

    def _validate(self, monitor: Monitor, stop: StopRequests) -> None:
        value = self.held_out(RATIO, self.config.validation_windows, stop.check)
        best = all(value < earlier for _, earlier in self.history)
        self.history.append((self.step, value))
        monitor.validation({"step": self.step, "held_out": value})
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            for name in ("last", "best") if best else ("last",):
                picture = self.directory.path / f"held_out-{name}"
                self.modality.illustrate(self.model, picture if self.ranks.is_first else None)
        if best and self.step:
            self.save("best")

    def save(self, name: str | None = None) -> None:
        """Begin to write a checkpoint of the present step; those past ``keep_checkpoints`` go when it is there.

        Raises
        ------
        RunError
            If a weight is not finite, or the checkpoint before could not be written.
        """
        broken = any(not local_shard(parameter).isfinite().all() for parameter in self.parameters)
        if any(self.ranks.all_max(broken, device=self.device)):
            raise RunError(f"step {self.step}: weights are not finite; {_last_good(self.directory)}")
        state = {"step": self.step, "history": self.history, "guard": self.guard.state()}
        if self.ranks.is_first:
            self.writer.save(name or step_name(self.step), Snapshot.take(self.model, self.optimizer, state))
        elif self.is_sharded:
            give_shards(self.model, self.optimizer)
        if name is None:
            self.saved_step = self.step

    def _progress(self, start: float) -> dict[str, Any]:
        """What is known of a run before its end."""
        return {
            "out": str(self.directory.path),
            "steps": self.step,
            "parameters": sum(p.numel() for p in self.parameters),
            "seconds": time.monotonic() - start,
        }

    def _summary(self, start: float, stop: StopRequests) -> RunResult:
        progress, windows = self._progress(start), self.config.validation_windows
        return RunResult(
            **progress,
            finished=True,
            unit=self.modality.unit,
            held_out=self.held_out(RATIO, 4 * windows, stop.check),
            untrained=self.history[0][1],
            curve={str(r): self.held_out(r, windows, stop.check) for r in CURVE},
            yardstick=self.modality.yardstick(),
            data=self.modality.report(),
        )


def _last_good(run: RunDirectory) -> str:
    saved = checkpoints(run.path)
    return f"the last good checkpoint is {saved[-1]}" if saved else "no checkpoint was written before that"
