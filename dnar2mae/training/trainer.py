"""Pretraining, the same for every modality; its loop is that of :mod:`dnar2mae.training.loop`."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int
from torch.utils.data import DataLoader

from dnar2mae.batch import Batch, FiniteSource, evenly_spaced
from dnar2mae.config import PretrainConfig
from dnar2mae.distributed import ALONE, Ranks
from dnar2mae.errors import RunError
from dnar2mae.kernels.backend import use_triton, why_unfused
from dnar2mae.masking import Masker, MaskPlan, fixed_masks
from dnar2mae.masking.draw import RATIO
from dnar2mae.modalities.contract import Copies, Modality
from dnar2mae.models import MaskedModel
from dnar2mae.models.attention import choose_backend
from dnar2mae.run.checkpoint import load_checkpoint
from dnar2mae.run.directory import RunDirectory
from dnar2mae.run.metrics import clipped_shares
from dnar2mae.run.plot import plot_run
from dnar2mae.run.result import RunResult, finite
from dnar2mae.scoring.blocks import ratio_of_sums
from dnar2mae.training.bound import PASSES, Measure, report_bound, running_bound, why_no_bound
from dnar2mae.training.build import build_model, compile_model
from dnar2mae.training.loader import batches
from dnar2mae.training.loop import STABLE, Loop, LoopSettings
from dnar2mae.training.monitor import Monitor, Readings
from dnar2mae.training.optimizer import last_stable_step
from dnar2mae.training.start import InitialWeights
from dnar2mae.training.step import TrainingStep
from dnar2mae.training.stopping import StopRequests
from dnar2mae.training.validation import CURVE, masked_sums

Sums = Float64[np.ndarray, "2 S"]


class Trainer(Loop[RunResult]):
    """One pretraining in progress.

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

    directory: RunDirectory
    model: MaskedModel
    extras = True
    """Whether trivial models are fitted and pictures and plots are drawn, which may take longer than a short run."""

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
        self.config, self.modality, self.start, self.autocast = config, modality, start, autocast
        self.masker = Masker(config.mask, modality.vocabulary, config.seed, config.steps, modality.train)
        self.is_sharded = ranks.size > 1 and config.parallel == "fsdp"
        model = build_model(config, modality, device, sharded=self.is_sharded)
        if start is not None:
            start.load(model)
            if model.symmetry is not None and not model.is_strand_symmetric:
                raise RunError(
                    f"--init {config.init}: its weights differ between the strands, though model.strand_symmetric of "
                    "its configuration has them shared; set that to false to train them as they are"
                )
        tokens = config.batch_size * modality.layout.tokens
        readings = Readings(tokens, modality.unit.replace(" ", "_"), config.max_skipped, run.path)
        super().__init__(model, self._loop_settings(model), readings, run=run, ranks=ranks)
        if config.compile:
            compile_model(model)
        self.stepper = TrainingStep(
            config, model, self.masker, unit_size=modality.unit_size, autocast=autocast, ranks=ranks
        )
        self.optimizer, self.averages = self.stepper.optimizer, self.stepper.averages

    def run(self, *, resume: bool = False, stop: StopRequests | None = None) -> RunResult:
        """Train, validate, and write the summary."""
        result = super().run(resume=resume, stop=stop)
        if result.finished and self.ranks.is_first:
            result.save(self.directory.summary_file)
            if self.extras:
                plot_run(self.directory.path, asdict(result), self.directory.plot_file)
        return result

    def _loop_settings(self, model: MaskedModel) -> LoopSettings:
        config = self.config
        stable = last_stable_step(config.steps, config.optimizer)
        return LoopSettings(
            steps=config.steps,
            validate_every=config.validate_every,
            checkpoint_every=config.checkpoint_every,
            keep_checkpoints=config.keep_checkpoints,
            stable_step=stable if stable < config.steps else None,
            max_hours=config.max_hours,
            tensorboard=config.tensorboard,
            dtype=self._dtype(),
            precision=config.precision,
            # twice the samples in each pass
            final_validations=2 * self._final_passes(model),
        )

    def begin(self, resumed_from: Path | None) -> None:
        """Save the weights of ``--init``: a resumed run must not read it again; see ``starting_point``."""
        if self.start is not None:
            self.save()

    def load_newest(self) -> tuple[Path, dict[str, Any]] | None:
        """Load the newest checkpoint, or an earlier one where the run has become longer; see :meth:`.Loop.load_newest`.

        Raises
        ------
        RunError
            If there is none that the run can go on from.
        """
        stepper, path = self.stepper, self.directory.path
        newest = super().load_newest()
        if newest is None and self.config.init and self.start is None:
            raise RunError(
                f"{path}: no checkpoint is whole, and --init is read only once; start again with --overwrite"
            )
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
        return folder, state

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs besides the tensors."""
        return super().state() | {"guard": self.stepper.guard.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        super().restore(state)
        self.stepper.guard.restore(state["guard"])

    def describe(self) -> str:
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

    def training_step(self, batch: Batch) -> dict[str, Any]:
        """Do the next optimizer step; see :class:`dnar2mae.training.step.TrainingStep`."""
        row = self.stepper(self.step, batch)
        self.step += 1
        return row

    def _measure(
        self,
        check: Callable[[], object],
        advance: Callable[[], object] = lambda: None,
        copies: Copies | None = None,
    ) -> Measure:
        """Return what scores samples under masks; ``check`` is called before, and ``advance`` after each pass."""

        def measure(
            source: FiniteSource, plan: MaskPlan, sample_ids: Int[np.ndarray, " S"]
        ) -> Float64[np.ndarray, "6 S"]:
            with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
                sums = masked_sums(self.model, source, plan, sample_ids, ranks=self.ranks, check=check, copies=copies)
            advance()
            return sums

        return measure

    def held_out(self, ratio: float, num_samples: int, check: Callable[[], object] = lambda: None) -> float:
        """Return the held-out loss at a mask ratio, in the modality's unit; NaN if no token was masked.

        ``check`` is called before every batch and may raise, to stop the run.
        """
        return _mean_loss(self._held_out_sums(ratio, num_samples, check)[1]) / self.modality.unit_size

    def _held_out_sums(
        self, ratio: float, num_samples: int, check: Callable[[], object]
    ) -> tuple[Int[np.ndarray, " S"], Float64[np.ndarray, "6 S"]]:
        """Return held-out samples and what :func:`.masked_sums` says of them at a mask ratio."""
        source, plan = self.modality.validation, fixed_masks(self.masker.plan(self.step), ratio)
        ids = evenly_spaced(len(source), num_samples)
        return ids, self._measure(check)(source, plan, ids)

    def validate(self, check: Callable[[], object]) -> dict[str, Any]:
        """Return the held-out loss at mask ratio 0.15, of all samples and by class, and the bound where it is known."""
        ids, sums = self._held_out_sums(RATIO, self.config.validation_windows, check)
        by_class = _by_class(self.modality.classes_of(ids), sums[:2])
        losses = {"held_out": _mean_loss(sums)} | {
            f"held_out_{name}": _mean_loss(own) for name, own in by_class.items()
        }
        return {name: loss / self.modality.unit_size for name, loss in losses.items()} | running_bound(
            self.modality,
            self.model.head,
            self.config.mask,
            self.masker.plan(self.step),
            self.config.validation_windows,
            measure=self._measure(check),
        )

    def after_validation(self, best: bool) -> None:
        """Draw held-out samples."""
        if not self.extras:
            return
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            for name in ("last", "best") if best else ("last",):
                picture = self.directory.path / f"held_out-{name}"
                self.modality.illustrate(self.model, picture if self.ranks.is_first else None)

    def _progress(self, begun: float) -> dict[str, Any]:
        """Return the fields of the result that are known before the end of a run."""
        return {
            "out": str(self.directory.path),
            "steps": self.step,
            "parameters": sum(p.numel() for p in self.parameters),
            "seconds": time.monotonic() - begun,
        }

    def _final_passes(self, model: MaskedModel) -> int:
        """Return the passes of the last validation: a ratio each, those of the bound, and the trivial models as one."""
        is_bounded = why_no_bound(model.head, self.config.mask) is None
        return len(CURVE) + is_bounded * PASSES + 1

    def unfinished(self, begun: float) -> RunResult:
        """Return the result of a run that was stopped before its last step."""
        return RunResult(finished=False, **self._progress(begun))

    def finish(self, begun: float, monitor: Monitor, stop: StopRequests) -> RunResult:
        """Score the model and the trivial ones."""
        monitor.begin("last validation and trivial models", self._final_passes(self.model))
        sample_ids = evenly_spaced(len(self.modality.validation), 2 * self.config.validation_windows)
        copies = self.modality.copies(sample_ids) if self.extras else None
        measure = self._measure(stop.check, monitor.advance, copies)
        step, value = min(self.history, key=lambda item: (not math.isfinite(item[1]), item[1]))
        plan = self.masker.plan(self.step)
        return RunResult(
            **self._progress(begun),
            **final_validation(self.modality, plan, sample_ids, measure, yardsticks=self.extras),
            bound=report_bound(self.modality, self.model.head, self.config.mask, plan, sample_ids, measure=measure),
            finished=True,
            unit=self.modality.unit,
            untrained=self.history[0][1],
            best={"step": step, "held_out": value, "last": self.history[-1][1]},
            clipped=clipped_shares(self.directory.path) if self.ranks.is_first else {},
            data=self.modality.report(),
        )


def final_validation(
    modality: Modality,
    plan: MaskPlan,
    sample_ids: Int[np.ndarray, " S"],
    measure: Measure,
    *,
    yardsticks: bool = True,
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
    yardsticks
        Fit the trivial models too.

    Returns
    -------
    dict
        Fields of :class:`dnar2mae.run.result.RunResult`.
    """
    plans = [fixed_masks(plan, ratio) for ratio in CURVE]
    source = modality.validation
    measured = [measure(source, fixed, sample_ids) for fixed in plans]
    losses, copied = ([sums[[row, 1]] / [[modality.unit_size], [1]] for sums in measured] for row in (0, 5))
    by_ratio = [ratio_of_sums(*sums) for sums in losses]
    at = CURVE.index(RATIO)
    held_out = by_ratio[at]
    scores: dict[str, Any] = {
        "held_out": held_out.value,
        "standard_error": held_out.standard_error,
        "samples": {"used": len(sample_ids), "held_out": len(source)},
        "classes": {
            name: finite(ratio_of_sums(*own)._asdict()) | {"samples": own.shape[1]}
            for name, own in _by_class(modality.classes_of(sample_ids), losses[at]).items()
        },
        "curve": {str(ratio): estimate.value for ratio, estimate in zip(CURVE, by_ratio, strict=True)},
        "yardstick": {},
        "yardstick_curve": {},
        "margin": {},
    }
    if not yardsticks:
        return scores
    scores["yardstick"] = modality.yardstick()
    families, rivals = modality.masked_yardsticks(plans, sample_ids), {}
    for family in families.values():
        values = {name: sums.sum(axis=1) / [units.sum() for _, units in losses] for name, sums in family.items()}
        scores["yardstick"] |= {name: float(value[at]) for name, value in values.items()}
        best = min(values, key=lambda name: values[name][at])
        scores["yardstick_curve"][best] = dict(zip(scores["curve"], values[best].tolist(), strict=True))
        rivals[best] = family[best][at]
        scores["margin"][best] = _margin(losses[at], rivals[best])
    if scores["yardstick"] and not scores["margin"]:  # without losses by sample there is no standard error
        best = min(scores["yardstick"], key=scores["yardstick"].get)
        scores["margin"] = {best: {"below_by": scores["yardstick"][best] - held_out.value, "standard_error": None}}
    by_family = [{name: sums[at] for name, sums in family.items()} for family in families.values()]
    scores["unique"] = _unique(modality.copied_samples(sample_ids), losses[at], by_family)
    if not np.array_equal(losses[at], copied[at]):
        scores["copies"] = finite(ratio_of_sums(*copied[at])._asdict()) | {
            "curve": {str(ratio): ratio_of_sums(*sums).value for ratio, sums in zip(CURVE, copied, strict=True)},
            "margin": {name: finite(_margin(copied[at], sums)) for name, sums in rivals.items()},
        }
    return scores


def _unique(
    copied: Bool[np.ndarray, " S"], losses: Sums, families: Sequence[dict[str, Float64[np.ndarray, " S"]]]
) -> dict[str, Any]:
    """Return the same scores over the samples of which no part is in the training data; nothing if all are such."""
    if not copied.any():
        return {}
    loss, units = losses[:, ~copied]
    scores: dict[str, Any] = {"samples": len(units), "copied": int(copied.sum()), "margin": {}}
    if not len(units):
        return scores
    scores |= finite(ratio_of_sums(loss, units)._asdict())
    for family in families:
        best = min(family, key=lambda name: family[name][~copied].sum())
        scores["margin"][best] = finite(_margin(losses[:, ~copied], family[best][~copied]))
    return scores


def _mean_loss(sums: Float64[np.ndarray, "_ S"]) -> float:
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN
        loss, units = sums[:2].sum(axis=1)
        return float(loss / units)


def _by_class(classes: list[str], sums: Sums) -> dict[str, Float64[np.ndarray, "2 _"]]:
    """Return the sums of the samples of each class, sorted by its name."""
    return {name: sums[:, np.array(classes) == name] for name in sorted(set(classes))}


def _margin(model: Sums, yardstick: Float64[np.ndarray, " S"]) -> dict[str, float]:
    """Return how far the model is below a trivial one, and the standard error of that, paired by sample."""
    loss, units = model
    difference = ratio_of_sums(yardstick - loss, units)
    return {"below_by": difference.value, "standard_error": difference.standard_error}
