"""Training on labels, by the loop of all runs: a new order of rows each epoch, AdamW, patience on dev."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Generic, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from dnar2mae.distributed import ALONE, Ranks
from dnar2mae.finetuning.network import parameter_groups, seeded
from dnar2mae.finetuning.options import TuningSettings
from dnar2mae.run.checkpoint import load_checkpoint
from dnar2mae.run.directory import RunDirectory
from dnar2mae.training.loop import Loop, LoopSettings, Result
from dnar2mae.training.monitor import Monitor, Readings
from dnar2mae.training.optimizer import scale_and_clip
from dnar2mae.training.stopping import StopRequests

SHUFFLE = 0xD1CE  # keeps the order of rows apart from all else that a seed draws
_DROPOUT = 0xD209
_MAX_SKIPPED = 20  # steps in a row whose gradient is not finite


class Rate(NamedTuple):
    """What differs between trainings under the same settings."""

    lr: float
    """Peak learning rate of the last layers."""
    seed: int
    """Of the order of rows and of dropout."""
    layer_decay: float = 1.0
    """See :func:`.parameter_groups`."""


@runtime_checkable
class Problem(Protocol):
    """Rows to learn from, and what a network is judged by."""

    @property
    def num_rows(self) -> int:
        """Training rows."""

    def losses(self, network: nn.Module, rows: Int[np.ndarray, " B"], step: int) -> tuple[Tensor, Tensor]:
        """Return the summed loss of training rows, and their summed weight; all draws follow from the step."""

    def held_out(self, network: nn.Module, check: Callable[[], object]) -> dict[str, Any]:
        """Return metrics on dev, among them ``held_out``, the lower the better; ``check`` may raise to stop."""


class Tuner(Loop[Result], Generic[Result]):
    """A network in training on labels; the subclass says what comes of it.

    Parameters
    ----------
    network
        On its device; the parameters with ``requires_grad`` learn.
    problem
        The rows.
    settings
        How it is trained.
    rate
        Learning rate and seed.
    loop
        Length and evaluations; by default those of the settings.
    run, ranks
        As for :class:`.Loop`.
    """

    validates_first = False
    autocast: torch.dtype | None = None
    """Type of matrix products; None for that of the weights."""

    def __init__(
        self,
        network: nn.Module,
        problem: Problem,
        settings: TuningSettings,
        rate: Rate,
        *,
        loop: LoopSettings | None = None,
        run: RunDirectory | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.problem, self.tuning, self.rate, self.seed = problem, settings, rate, rate.seed
        path = None if run is None else run.path
        readings = Readings(0, "", math.inf if run is None else _MAX_SKIPPED, path, "--lr")
        super().__init__(network, loop or loop_settings(settings, problem.num_rows), readings, run=run, ranks=ranks)
        self.learned = [parameter for parameter in self.parameters if parameter.requires_grad]
        groups = parameter_groups(network, settings.weight_decay, rate.layer_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=rate.lr)
        self._skipped = 0

    def precision(self) -> AbstractContextManager:
        """Return the context in which losses are computed."""
        return torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None)

    def batches(self) -> Iterator[Int[np.ndarray, " B"]]:
        """Yield the rows of the remaining steps; every epoch is a fresh permutation, a function of seed and epoch."""
        num_rows, size = self.problem.num_rows, self.tuning.batch_size
        num_batches = math.ceil(num_rows / size)
        order, of_epoch = np.arange(0), -1
        for step in range(self.step, self.settings.steps):
            epoch, batch = divmod(step, num_batches)
            if epoch != of_epoch:
                order, of_epoch = np.random.default_rng((SHUFFLE, self.seed, epoch)).permutation(num_rows), epoch
            yield order[batch * size : (batch + 1) * size]

    def training_step(self, rows: Int[np.ndarray, " B"]) -> dict[str, Any]:
        """Do the next optimizer step; one whose gradient is not finite is skipped and counted."""
        rate = self.rate.lr * self._share_of_rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_factor"]
        self.model.train()
        share = rows[self.ranks.rank :: self.ranks.size]
        # a rank without a row computes one that does not count: gradients are summed over all ranks
        counts = float(len(share) > 0)
        with seeded(_DROPOUT, self.seed, self.step, self.ranks.rank), self.precision():
            total, weight = self.problem.losses(self.model, share if counts else rows[:1], self.step)
        total, weight = total * counts, weight * counts
        self.ranks.all_sum_(weight)
        self.optimizer.zero_grad(set_to_none=True)
        (total / weight.clamp(min=1.0)).backward()  # windows without a labelled base weigh nothing
        self._sum_gradients()
        one = torch.ones((), device=self.device)
        norm, clipped = scale_and_clip(self.learned, one, self.tuning.clip or 0)
        if norm.isfinite():
            self.optimizer.step()
            self._skipped = 0
        else:
            self._skipped += 1
        self.step += 1
        total = total.detach()
        self.ranks.all_sum_(total)
        return {
            "step": self.step,
            "loss": total / weight,
            "lr": rate,
            "grad_norm": norm,
            "clipped": clipped,
            "skipped": self._skipped,
        }

    def _sum_gradients(self) -> None:
        if self.ranks.size > 1:
            gradients = [parameter.grad for parameter in self.learned if parameter.grad is not None]
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            self.ranks.all_sum_(flat)
            for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(part.view_as(gradient))

    def _share_of_rate(self, step: int) -> float:
        """Return the learning rate of a step (0-based) as a share of the peak."""
        num_steps = self.settings.steps
        warmup = self.tuning.warmup_steps or round(self.tuning.warmup_share * num_steps)
        rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
        left = max(0.0, (num_steps - step) / max(num_steps - warmup, 1))
        return rise * min(1.0, left) if self.tuning.schedule == "linear" else rise

    def validate(self, check: Callable[[], object]) -> dict[str, Any]:
        """Return the metrics on dev."""
        self.model.eval()
        with self.precision():
            return self.problem.held_out(self.model, check)

    @property
    def best(self) -> tuple[int, float]:
        """Step and value of the best evaluation."""
        return min(self.history, key=lambda item: (not math.isfinite(item[1]), item[1]))

    def is_over(self) -> bool:
        """Return whether the last evaluations in a row were no better, as many as ``patience`` says."""
        if self.tuning.patience is None or not self.history:
            return False
        values = [value if math.isfinite(value) else math.inf for _, value in self.history]
        lowest = min(values)
        since = len(values) if math.isinf(lowest) else len(values) - 1 - values.index(lowest)
        return since >= self.tuning.patience

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs besides the tensors."""
        return super().state() | {"guard": [0.0, float(self._skipped)]}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        super().restore(state)
        self._skipped = int(state["guard"][1])

    def take_best(self) -> None:
        """Load the weights of the best evaluation."""
        if self.writer is not None and self.directory is not None:
            self.writer.wait()
            self.ranks.wait()
            load_checkpoint(self.directory.checkpoint_folder / "best", self.model)
        elif self.best_weights:
            self.model.load_state_dict(self.best_weights)
        self.model.eval()


class MemoryTuner(Tuner[float]):
    """A training without a run directory; it returns the best value, and the network then has the best weights."""

    on_step: Callable[[], object] = staticmethod(lambda: None)
    """Called after each step, for the progress bar of what the training is a part of."""

    def training_step(self, rows: Int[np.ndarray, " B"]) -> dict[str, Any]:
        """Do the next optimizer step, and say that it is done."""
        row = super().training_step(rows)
        self.on_step()
        return row

    def finish(self, begun: float, monitor: Monitor, stop: StopRequests) -> float:
        """Return the lowest value on dev."""
        self.take_best()
        return self.best[1]

    def unfinished(self, begun: float) -> float:
        """Raise: without a run directory a stopped training raises before."""
        raise AssertionError


def loop_settings(settings: TuningSettings, num_rows: int, **others: Any) -> LoopSettings:
    """Return the length of a training and its evaluations."""
    num_batches = math.ceil(num_rows / settings.batch_size)
    return LoopSettings(
        steps=settings.max_steps or settings.epochs * num_batches,
        validate_every=settings.evaluate_every or num_batches,
        **others,
    )
