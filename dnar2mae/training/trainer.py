"""The pretraining loop, the same for every modality.

Batches, masks and schedules are pure functions of the step, so a run that resumes from a checkpoint of step n goes on
exactly as an uninterrupted run would.
"""

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int
from torch.utils.data import DataLoader

from dnar2mae.batch import Batch, FiniteSource, evenly_spaced
from dnar2mae.config import PretrainConfig
from dnar2mae.distributed import ALONE, Ranks, local_shard
from dnar2mae.errors import RunError
from dnar2mae.kernels.backend import use_triton, why_unfused
from dnar2mae.masking import Masker, MaskPlan, fixed_masks
from dnar2mae.masking.draw import RATIO
from dnar2mae.modalities.contract import Modality
from dnar2mae.models.attention import choose_backend
from dnar2mae.run.checkpoint import Snapshot, last_good, load_checkpoint, load_newest, send_shards, step_name
from dnar2mae.run.checkpoint_writer import CheckpointWriter
from dnar2mae.run.directory import RunDirectory
from dnar2mae.run.metrics import clipped_shares, rewind_metrics
from dnar2mae.run.plot import plot_run
from dnar2mae.run.result import RunResult
from dnar2mae.scoring.blocks import ratio_of_sums
from dnar2mae.training.bound import PASSES, Measure, report_bound, running_bound, why_no_bound
from dnar2mae.training.build import build_model, compile_model
from dnar2mae.training.loader import batches
from dnar2mae.training.monitor import Monitor, Readings
from dnar2mae.training.optimizer import last_stable_step
from dnar2mae.training.start import InitialWeights
from dnar2mae.training.step import TrainingStep
from dnar2mae.training.stopping import StopRequested, StopRequests
from dnar2mae.training.validation import CURVE, masked_sums

STABLE = "stable"
"""Checkpoint of the last step that is the same in a longer run, from which a finished run is lengthened."""
_STEPS_BETWEEN_READINGS = 10  # losses stay on the device until then, so that the host does not wait for each step
Sums = Float64[np.ndarray, "2 S"]


class Trainer:
    """One run in progress.

    Parameters
    ----------
    config, modality, run
        The settings, the data, and where to write.
    device, autocast
        See :func:`dnar2mae.training.device.choose_device`.
    ranks
        The processes that train together.
    start
        The weights of ``--init``, for a run without a checkpoint.
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
        if config.compile:
            compile_model(self.model)
        self.stepper = TrainingStep(
            config, self.model, self.masker, unit_size=modality.unit_size, autocast=autocast, ranks=ranks
        )
        self.writer = CheckpointWriter(run.path, config.keep_checkpoints)
        self.readings = Readings(config, modality, run.path)
        self.step = 0
        self.saved_step = -1
        self.history: list[tuple[int, float]] = []

    def run(self, *, resume: bool) -> RunResult:
        """Train to the last step, validate, and write the summary."""
        resumed_from = self._resume() if resume else None
        if resume and resumed_from is None and self.config.init and self.start is None:
            raise RunError(
                f"{self.directory.path}: no checkpoint is whole, and --init is read only once; "
                "start again with --overwrite"
            )
        if self.ranks.is_first:
            rewind_metrics(self.directory.path, self.saved_step, validated=self._is_validated())
            if self.step < self.config.steps:  # of a run that was shorter
                self.directory.summary_file.unlink(missing_ok=True)
        begun = time.monotonic()
        with (
            self._monitor() as monitor,
            self.writer,
            StopRequests(self.config.max_hours, self.ranks, self.device) as stop,
        ):
            monitor.say(self._describe())
            if resumed_from:
                monitor.say(f"resuming from {resumed_from}")
            if self.start is not None:  # a resumed run must not read --init again: see starting_point
                self.save()
            try:
                if self._validation_is_due():
                    self._validate(monitor, stop)
                self._train(monitor, stop)
                result = self._summary(begun, monitor, stop)
            except StopRequested as request:
                return self._stopped(request, monitor, begun)
        if self.ranks.is_first:
            result.save(self.directory.summary_file)
            plot_run(self.directory.path, asdict(result), self.directory.plot_file)
        return result

    def _resume(self) -> Path | None:
        """Load the newest undamaged checkpoint of the run, and return its folder; None where there is none."""
        stepper, path = self.stepper, self.directory.path
        newest = load_newest(path, self.model, stepper.optimizer, self.ranks, stepper.averages)
        if newest is None:
            return None
        folder, state = newest
        planned = state.get("steps", self.config.steps)
        if planned < self.config.steps and state["step"] > last_stable_step(planned, self.config.optimizer):
            # past the last common step the learning rates of the longer run differ: go back to it
            folder = path / "checkpoints" / STABLE
            if not folder.is_dir():
                raise RunError(f"{path}: --steps was {planned}, and of before its decay no {STABLE} checkpoint is here")
            state = load_checkpoint(folder, self.model, stepper.optimizer, stepper.averages)
        dtype = self._dtype()
        if state.get("dtype", dtype) != dtype:
            warnings.warn(
                f"{path}: the run computed in {state['dtype']} so far and goes on in {dtype}, as --precision "
                f"{self.config.precision} means on this machine; it will not go exactly as it would have",
                stacklevel=2,
            )
        self.step = self.saved_step = state["step"]
        self.history = [(s, v) for s, v in state["history"]]
        stepper.guard.restore(state["guard"])
        return folder

    def _monitor(self) -> Monitor:
        return Monitor(
            self.directory.path if self.ranks.is_first else None,
            total_steps=self.config.steps,
            first_step=self.step,
            tensorboard=self.directory.path / "tensorboard" if self.config.tensorboard else None,
            validate_every=self.config.validate_every,
            # twice the samples in each pass
            final_validations=2 * self._final_passes(),
        )

    def _stopped(self, request: StopRequested, monitor: Monitor, begun: float) -> RunResult:
        """Save a run that is to end before its last step."""
        if self.saved_step != self.step:
            self.save()
        self.writer.wait()
        self.ranks.wait()  # torchrun kills ranks that outlive another
        monitor.say(f"{request}: saved step {self.step}; go on with --resume")
        return RunResult(finished=False, **self._progress(begun))

    def _describe(self) -> str:
        """Return a line that says what runs where."""
        count = sum(p.numel() for p in self.parameters)
        widths, dtype = self.config.model.head_widths, self.autocast or torch.float32
        backends = [choose_backend(self.config.attention, self.device, dtype, width) for width in widths]
        attention = f"attention {', '.join(dict.fromkeys(backends))}, " if backends else ""
        several = f" in {self.ranks.size} ranks ({self.config.parallel})" if self.ranks.size > 1 else ""
        triton = use_triton(self.config.kernels, self.parameters[0], self.masker.plan(0))
        kernels = "triton" if triton else "reference"
        if flag := self.config.mask.beyond_kernels:
            kernels += f" (the fused ones do not know {flag})"
        elif self.config.kernels == "auto" and self.device.type == "cuda" and (why := why_unfused(self.device)):
            kernels += f" ({why})"
        return (
            f"{count / 1e6:.2f} M parameters on {self.device}{several}, {self._dtype()}, "
            f"{attention}masking kernels {kernels}; writing to {self.directory.path}"
        )

    def _dtype(self) -> str:
        return str(self.autocast or torch.float32).removeprefix("torch.")

    def batches(self) -> DataLoader:
        """Return the batches of the remaining steps, with their masks as the model needs them."""
        return batches(
            self.modality.train,
            self.config,
            self.step,
            masker=self.masker,
            counts_only=self.model.draws_masks(self.masker.plan(self.step)),
            ranks=self.ranks,
            pin_memory=self.device.type == "cuda",
        )

    def _train(self, monitor: Monitor, stop: StopRequests) -> None:
        """Do the remaining steps; validate, save and stop where it is time to."""
        config = self.config
        loader = self.batches()
        self.readings.start_clock()
        for batch in loader:
            self.readings.add(self.training_step(batch))
            reason = stop.after_step()
            validate = self._validation_is_due()
            save = self.step == config.steps or self.step % config.checkpoint_every == 0
            stable = self.step == last_stable_step(config.steps, config.optimizer) < config.steps
            if validate or save or reason or self.step % _STEPS_BETWEEN_READINGS == 0:
                rows = self.readings.take()
                self.writer.check()
                monitor.train(rows)
            if reason:
                raise StopRequested(reason)
            if validate:
                self._validate(monitor, stop)
            if stable:
                self.save(STABLE)
            if save:
                self.save()
            if validate or save or stable:
                self.readings.start_clock()  # tokens_per_s is that of training alone

    def training_step(self, batch: Batch) -> dict[str, Any]:
        """Do the next optimizer step; see :class:`dnar2mae.training.step.TrainingStep`."""
        row = self.stepper(self.step, batch)
        self.step += 1
        return row

    def _is_validated(self) -> bool:
        return bool(self.history) and self.history[-1][0] == self.step

    def _validation_is_due(self) -> bool:
        """Return whether the current step has a validation that is not done yet (a stopped run may lack it)."""
        is_time = self.step % self.config.validate_every == 0 or self.step == self.config.steps
        return is_time and not self._is_validated()

    def _measure(self, check: Callable[[], object], advance: Callable[[], object] = lambda: None) -> Measure:
        """Return what scores samples under masks; ``check`` is called before, and ``advance`` after each pass."""

        def measure(
            source: FiniteSource, plan: MaskPlan, sample_ids: Int[np.ndarray, " S"]
        ) -> Float64[np.ndarray, "5 S"]:
            sums = masked_sums(
                self.model, source, plan, sample_ids, autocast=self.autocast, ranks=self.ranks, check=check
            )
            advance()
            return sums

        return measure

    def held_out(self, ratio: float, num_samples: int, check: Callable[[], object] = lambda: None) -> float:
        """Return the held-out loss at a mask ratio, in the modality's unit; NaN if no token was masked.

        ``check`` is called before every batch and may raise, to stop the run.
        """
        source, plan = self.modality.validation, fixed_masks(self.masker.plan(self.step), ratio)
        ids = evenly_spaced(len(source), num_samples)
        sums = self._measure(check)(source, plan, ids)
        with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN
            loss, units = sums[:2].sum(axis=1)
            return float(loss / units) / self.modality.unit_size

    def _validate(self, monitor: Monitor, stop: StopRequests) -> None:
        """Record the held-out loss, draw held-out samples, and save a model that is the best so far."""
        begun = time.monotonic()
        value = self.held_out(RATIO, self.config.validation_windows, stop.check)
        best = math.isfinite(value) and not any(earlier <= value for _, earlier in self.history)
        self.history.append((self.step, value))
        row = {"step": self.step, "held_out": value} | running_bound(
            self.modality,
            self.model.head,
            self.config.mask,
            self.masker.plan(self.step),
            self.config.validation_windows,
            measure=self._measure(stop.check),
        )
        monitor.validation(row, time.monotonic() - begun)
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            for name in ("last", "best") if best else ("last",):
                picture = self.directory.path / f"held_out-{name}"
                self.modality.illustrate(self.model, picture if self.ranks.is_first else None)
        if best and self.step:
            self.save("best")

    def save(self, name: str | None = None) -> None:
        """Begin to write a checkpoint of the current step, after which those past ``keep_checkpoints`` are removed.

        Raises
        ------
        RunError
            If a weight is not finite, or the checkpoint before could not be written.
        """
        broken = any(not local_shard(parameter).isfinite().all() for parameter in self.parameters)
        if any(self.ranks.all_max(broken, device=self.device)):
            raise RunError(f"step {self.step}: weights are not finite; {last_good(self.directory.path)}")
        state = {
            "step": self.step,
            "steps": self.config.steps,
            "dtype": self._dtype(),
            "history": self.history,
            "guard": self.stepper.guard.state(),
        }
        optimizer, averages = self.stepper.optimizer, self.stepper.averages
        if self.ranks.is_first:
            snapshot = Snapshot.take(self.model, optimizer, state, averages)
            self.writer.save(name or step_name(self.step), snapshot)
        elif self.is_sharded:
            send_shards(self.model, optimizer, averages)
        if name is None:
            self.saved_step = self.step

    def _progress(self, begun: float) -> dict[str, Any]:
        """Return the fields of the result that are known before the end of a run."""
        return {
            "out": str(self.directory.path),
            "steps": self.step,
            "parameters": sum(p.numel() for p in self.parameters),
            "seconds": time.monotonic() - begun,
        }

    def _final_passes(self) -> int:
        """Return the passes of the last validation: a ratio each, those of the bound, and the trivial models as one."""
        is_bounded = why_no_bound(self.model.head, self.config.mask) is None
        return len(CURVE) + is_bounded * PASSES + 1

    def _summary(self, begun: float, monitor: Monitor, stop: StopRequests) -> RunResult:
        monitor.begin("last validation and trivial models", self._final_passes())
        measure = self._measure(stop.check, monitor.advance)
        step, value = min(self.history, key=lambda item: (not math.isfinite(item[1]), item[1]))
        plan = self.masker.plan(self.step)
        sample_ids = evenly_spaced(len(self.modality.validation), 2 * self.config.validation_windows)
        return RunResult(
            **self._progress(begun),
            **final_validation(self.modality, plan, sample_ids, measure),
            bound=report_bound(self.modality, self.model.head, self.config.mask, plan, sample_ids, measure=measure),
            finished=True,
            unit=self.modality.unit,
            untrained=self.history[0][1],
            best={"step": step, "held_out": value, "last": self.history[-1][1]},
            clipped=clipped_shares(self.directory.path) if self.ranks.is_first else {},
            data=self.modality.report(),
        )


def final_validation(
    modality: Modality, plan: MaskPlan, sample_ids: Int[np.ndarray, " S"], measure: Measure
) -> dict[str, Any]:
    """Score a model and the trivial models it is compared with.

    Parameters
    ----------
    modality
        Has the held-out samples and the trivial models.
    plan
        Any plan of the run: its ratio is replaced.
    sample_ids
        The held-out samples to use.
    measure
        The model's :func:`dnar2mae.training.validation.masked_sums`.

    Returns
    -------
    dict
        Fields of :class:`dnar2mae.run.result.RunResult`.
    """
    plans = [fixed_masks(plan, ratio) for ratio in CURVE]
    source = modality.validation
    losses = [measure(source, fixed, sample_ids)[:2] / [[modality.unit_size], [1]] for fixed in plans]
    by_ratio = [ratio_of_sums(*sums) for sums in losses]
    at = CURVE.index(RATIO)
    held_out = by_ratio[at]
    scores: dict[str, Any] = {
        "held_out": held_out.value,
        "standard_error": held_out.standard_error,
        "samples": {"used": len(sample_ids), "held_out": len(source)},
        "curve": {str(ratio): estimate.value for ratio, estimate in zip(CURVE, by_ratio, strict=True)},
        "yardstick": modality.yardstick(),
        "yardstick_curve": {},
        "margin": {},
    }
    for family in modality.masked_yardsticks(plans, sample_ids).values():
        values = {name: sums.sum(axis=1) / [units.sum() for _, units in losses] for name, sums in family.items()}
        scores["yardstick"] |= {name: float(value[at]) for name, value in values.items()}
        best = min(values, key=lambda name: values[name][at])
        scores["yardstick_curve"][best] = dict(zip(scores["curve"], values[best].tolist(), strict=True))
        scores["margin"][best] = _margin(losses[at], family[best][at])
    if scores["yardstick"] and not scores["margin"]:  # without losses by sample there is no standard error
        best = min(scores["yardstick"], key=scores["yardstick"].get)
        scores["margin"] = {best: {"below_by": scores["yardstick"][best] - held_out.value, "standard_error": None}}
    return scores


def _margin(model: Sums, yardstick: Float64[np.ndarray, " S"]) -> dict[str, float]:
    """Return how far the model is below a trivial one, and the standard error of that, paired by sample."""
    loss, units = model
    difference = ratio_of_sums(yardstick - loss, units)
    return {"below_by": difference.value, "standard_error": difference.standard_error}
