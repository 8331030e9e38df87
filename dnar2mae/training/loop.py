"""The loop that all training shares: resuming, steps, validations, checkpoints, stop requests, progress.

Batches and schedules are pure functions of the step, so a run that resumes from a checkpoint of step n goes on exactly
as an uninterrupted run would.
"""

import math
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from dnar2mae.distributed import ALONE, Ranks, local_shard
from dnar2mae.errors import RunError
from dnar2mae.run.checkpoint import Averages, Snapshot, last_good, load_newest, send_shards, step_name
from dnar2mae.run.checkpoint_writer import CheckpointWriter
from dnar2mae.run.directory import RunDirectory
from dnar2mae.run.metrics import rewind_metrics
from dnar2mae.training.monitor import Monitor, Readings
from dnar2mae.training.stopping import StopRequested, StopRequests

STABLE = "stable"
"""Checkpoint of the last step that is the same in a longer run, from which a finished run is lengthened."""
_STEPS_BETWEEN_READINGS = 10  # losses stay on the device until then, so that the host does not wait for each step
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopSettings:
    """How long a run is, and when it validates and saves."""

    steps: int
    """Optimizer steps."""
    validate_every: int
    """Steps between validations; the last step always has one."""
    checkpoint_every: int = 0
    """Steps between checkpoints; the last step always has one. Not used without a run directory."""
    keep_checkpoints: int = 2
    """How many of these are kept."""
    stable_step: int | None = None
    """Step of the checkpoint ``stable``; None for none."""
    max_hours: float | None = None
    """Time after which the run saves and ends."""
    tensorboard: bool = False
    """Write event files for TensorBoard."""
    dtype: str = "float32"
    """Type of matrix products, which a resumed run should share."""
    precision: str = "fp32"
    """Value of ``--precision``, for messages."""
    final_validations: float = 0.0
    """How many validations as during the run the work after the last step takes as long as."""


class Loop(ABC, Generic[Result]):
    """A training in progress. A subclass has the model, its optimizer and its batches, and does single steps.

    Parameters
    ----------
    model
        What is trained, on its device.
    settings
        Length of the run, validations and checkpoints.
    readings
        Turns results of steps into rows of metrics.
    run
        Where to write; None: nothing is written, and the best weights are kept in :attr:`best_weights`.
    ranks
        The processes that train together.
    """

    optimizer: torch.optim.Optimizer
    averages: Averages = None
    """Moving averages of the weights, if any are kept."""
    is_sharded = False
    """Whether each rank has a part of the model only."""
    validates_first = True
    """Whether the model is validated before its first step."""

    def __init__(
        self,
        model: nn.Module,
        settings: LoopSettings,
        readings: Readings,
        *,
        run: RunDirectory | None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.model, self.settings, self.readings, self.ranks = model, settings, readings, ranks
        self.parameters = list(model.parameters())
        self.device = self.parameters[0].device
        self.directory = run
        self.writer = None if run is None else CheckpointWriter(run.path, settings.keep_checkpoints)
        self.step = 0
        self.saved_step = -1
        self.history: list[tuple[int, float]] = []
        self.best_weights: Mapping[str, Tensor] = {}

    @abstractmethod
    def batches(self) -> Iterable[Any]:
        """Return the batches of the remaining steps."""

    @abstractmethod
    def training_step(self, batch: Any) -> dict[str, Any]:
        """Do the next optimizer step, count it in :attr:`step`, and return its row of metrics."""

    @abstractmethod
    def validate(self, check: Callable[[], object]) -> dict[str, Any]:
        """Return the metrics of a validation, among them ``held_out``, which training is to lower.

        ``check`` is called often, and may raise to stop the run.
        """

    @abstractmethod
    def finish(self, begun: float, monitor: Monitor, stop: StopRequests) -> Result:
        """Return the result of a run that has done its last step."""

    @abstractmethod
    def unfinished(self, begun: float) -> Result:
        """Return the result of a run that was stopped before."""

    def describe(self) -> str | None:
        """Return a line that says what runs where."""
        return None

    def begin(self, resumed_from: Path | None) -> None:
        """Prepare the first step of this process; ``resumed_from`` is the checkpoint that was read, if any."""

    def is_over(self) -> bool:
        """Return whether the run has ended before its last step, for good."""
        return False

    def after_validation(self, best: bool) -> None:
        """Show what the model does; ``best`` says whether its held-out loss is the lowest so far."""

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs besides the tensors; see :meth:`restore`."""
        return {
            "step": self.step,
            "steps": self.settings.steps,
            "dtype": self.settings.dtype,
            "history": self.history,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.step = self.saved_step = state["step"]
        self.history = [(step, value) for step, value in state["history"]]

    def run(self, *, resume: bool = False, stop: StopRequests | None = None) -> Result:
        """Train to the last step, validate, and return the result.

        Parameters
        ----------
        resume
            Go on from the last checkpoint.
        stop
            The stop requests of a run that this one is a part of.
        """
        resumed_from = self._resume() if resume else None
        if self.directory is not None and self.ranks.is_first:
            rewind_metrics(self.directory.path, self.saved_step, validated=self._is_validated())
            if self.step < self.settings.steps:  # of a run that was shorter
                self.directory.summary_file.unlink(missing_ok=True)
        begun = time.monotonic()
        with ExitStack() as stack:
            monitor = stack.enter_context(self._monitor())
            if self.writer is not None:
                stack.enter_context(self.writer)
            if stop is None:
                stop = StopRequests(self.settings.max_hours, self.ranks, self.device)
                if self.directory is not None:  # else signals are the caller's, and nothing could be resumed
                    stack.enter_context(stop)
            if line := self.describe():
                monitor.say(line)
            if resumed_from:
                monitor.say(f"resuming from {resumed_from}")
            self.begin(resumed_from)
            try:
                if self._validation_is_due():
                    self._validate(monitor, stop)
                self._train(monitor, stop)
                return self.finish(begun, monitor, stop)
            except StopRequested as request:
                if self.directory is None:
                    raise
                return self._stopped(request, monitor, begun)

    def load_newest(self) -> tuple[Path, dict[str, Any]] | None:
        """Load the newest undamaged checkpoint; return its folder and state, None where there is none."""
        assert self.directory is not None
        return load_newest(self.directory.path, self.model, self.optimizer, self.ranks, self.averages)

    def _resume(self) -> Path | None:
        assert self.directory is not None
        newest = self.load_newest()
        if newest is None:
            return None
        folder, state = newest
        if state.get("dtype", self.settings.dtype) != self.settings.dtype:
            warnings.warn(
                f"{self.directory.path}: the run computed in {state['dtype']} so far and goes on in "
                f"{self.settings.dtype}, as --precision {self.settings.precision} means on this machine; it will not "
                "go exactly as it would have",
                stacklevel=2,
            )
        self.restore(state)
        return folder

    def _monitor(self) -> Monitor:
        path = self.directory.path if self.directory is not None and self.ranks.is_first else None
        return Monitor(
            path,
            total_steps=self.settings.steps,
            first_step=self.step,
            tensorboard=path / "tensorboard" if path and self.settings.tensorboard else None,
            validate_every=self.settings.validate_every,
            final_validations=self.settings.final_validations,
        )

    def _stopped(self, request: StopRequested, monitor: Monitor, begun: float) -> Result:
        """Save a run that is to end before its last step."""
        assert self.writer is not None
        if self.saved_step != self.step:
            self.save()
        self.writer.wait()
        self.ranks.wait()  # torchrun kills ranks that outlive another
        monitor.say(f"{request}: saved step {self.step}; go on with --resume")
        return self.unfinished(begun)

    def _train(self, monitor: Monitor, stop: StopRequests) -> None:
        """Do the remaining steps; validate, save and stop where it is time to."""
        if self.is_over():
            return
        settings = self.settings
        batches = self.batches()
        self.readings.start_clock()
        for batch in batches:
            self.readings.add(self.training_step(batch))
            reason = stop.after_step()
            validate = self._validation_is_due()
            save = self.step == settings.steps or (
                settings.checkpoint_every > 0 and self.step % settings.checkpoint_every == 0
            )
            stable = self.step == settings.stable_step
            if validate or save or reason or self.step % _STEPS_BETWEEN_READINGS == 0:
                rows = self.readings.take()
                if self.writer is not None:
                    self.writer.check()
                monitor.train(rows)
            if reason:
                raise StopRequested(reason)
            if validate:
                self._validate(monitor, stop)
            if stable:
                self.save(STABLE)
            if save or self.is_over():
                self.save()
            if self.is_over():
                return
            if validate or save or stable:
                self.readings.start_clock()  # tokens_per_s is that of training alone

    def _is_validated(self) -> bool:
        return bool(self.history) and self.history[-1][0] == self.step

    def _validation_is_due(self) -> bool:
        """Return whether the current step has a validation that is not done yet (a stopped run may lack it)."""
        is_time = self.step % self.settings.validate_every == 0 or self.step == self.settings.steps
        return is_time and (self.step > 0 or self.validates_first) and not self._is_validated()

    def _validate(self, monitor: Monitor, stop: StopRequests) -> None:
        """Record the held-out loss, and save a model that is the best so far."""
        begun = time.monotonic()
        row = self.validate(stop.check)
        value = row["held_out"]
        best = math.isfinite(value) and not any(earlier <= value for _, earlier in self.history)
        self.history.append((self.step, value))
        monitor.validation({"step": self.step, **row}, time.monotonic() - begun)
        self.after_validation(best)
        if best and self.step:
            self.save("best")

    def save(self, name: str | None = None) -> None:
        """Begin to write a checkpoint of the current step, after which those past ``keep_checkpoints`` are removed.

        Without a run directory the weights of ``best`` are kept in memory.

        Raises
        ------
        RunError
            If a weight is not finite, or the checkpoint before could not be written.
        """
        if self.directory is None or self.writer is None:
            if name == "best":
                self.best_weights = {key: value.detach().clone() for key, value in self.model.state_dict().items()}
            return
        broken = any(not local_shard(parameter).isfinite().all() for parameter in self.parameters)
        if any(self.ranks.all_max(broken, device=self.device)):
            raise RunError(f"step {self.step}: weights are not finite; {last_good(self.directory.path)}")
        if self.ranks.is_first:
            snapshot = Snapshot.take(self.model, self.optimizer, self.state(), self.averages)
            self.writer.save(name or step_name(self.step), snapshot)
        elif self.is_sharded:
            send_shards(self.model, self.optimizer, self.averages)
        if name is None:
            self.saved_step = self.step
