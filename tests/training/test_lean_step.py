"""A training step launches few small operations and never reads from the device."""

import math
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from unittest import mock

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dnar2mae.config import MaskConfig, TokenizerConfig
from dnar2mae.masking import corrupt
from dnar2mae.modalities.registry import build_modality
from dnar2mae.run.directory import RunDirectory
from dnar2mae.training import step as training
from dnar2mae.training.loader import batches
from dnar2mae.training.trainer import Trainer
from tests.modalities import kinds

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
READS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "unique_dim", "_unique2", "repeat_interleave"}
MOST = 30


class Operations(TorchDispatchMode):
    """Names of the operations that a step launches outside the model and the optimizer, and of all that read."""

    def __init__(self):
        super().__init__()
        self.launched, self.reads, self.is_paused = [], [], False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        space, name = func._schema.name.split("::")
        if name in READS:
            self.reads.append(name)
        is_upload = name == "_to_copy" and args[0].device != out.device  # no kernel: the copy engine does it
        is_free = func.is_view or space == "prim" or name in ("detach", "empty") or is_upload
        if not (self.is_paused or is_free):
            self.launched.append(name)
        return out

    @contextmanager
    def paused(self, owner, name):
        """Leave out what a function of the model or the optimizer does."""
        real = getattr(owner, name)

        def quiet(*args, **kwargs):
            before, self.is_paused = self.is_paused, True
            try:
                return real(*args, **kwargs)
            finally:
                self.is_paused = before

        with mock.patch.object(owner, name, quiet):
            yield


def build(config, folder):
    """A trainer on the CPU, and its first batch as the loader makes it for a device that draws masks or does not."""
    modality = build_modality(config)
    trainer = Trainer(config, modality, RunDirectory(folder / "run"), CPU, None)

    def first(counts_only):
        return next(iter(batches(modality.train, config, 0, masker=trainer.masker, counts_only=counts_only)))

    return trainer, first


def count(trainer, batch):
    """Operations of one step."""
    operations, model = Operations(), trainer.model
    parts = [(model.encoder, "encode"), (model.encoder, "forward"), (model.head, "losses"), (torch.Tensor, "backward")]
    if model.decoder is not None:
        parts.append((model.decoder, "forward"))
    parts += [(training, "scale_and_clip"), (trainer.stepper.guard, "step"), (trainer.stepper.optimizer, "zero_grad")]
    if hasattr(model.embedder, "table"):
        parts.append((model.embedder, "table"))
    else:
        parts += [(model.embedder.project, "forward"), (model.embedder.place, "forward")]
    with ExitStack() as stack:
        for owner, name in parts:
            if hasattr(owner, name):
                stack.enter_context(operations.paused(owner, name))
        stack.enter_context(operations)
        trainer.training_step(batch)
    return operations


def count_on_meta(trainer, batch):
    """Count the operations of a step on the meta device, which like a GPU draws masks in kernels, and cannot be read.

    An operation whose result has a size that depends on the data, and a copy back, raise there.
    """
    device = trainer.stepper.device = torch.device("meta")
    trainer.stepper.parameters = list(trainer.model.to(device).parameters())
    trainer.model.embedder.kernels = "triton"
    with (
        mock.patch("torch.is_autocast_enabled", return_value=False),  # meta has no autocast
        mock.patch("torch.autocast", return_value=nullcontext()),
        mock.patch.object(trainer.stepper.guard, "step", return_value=torch.zeros((), device=device)),
    ):
        return count(trainer, batch)


MASKS = {
    "independent": {},
    "by sample": {"mask": MaskConfig(per="sample")},
    "token weights": {"mask": MaskConfig(weighting="token")},
    "spans": {"mask": MaskConfig(placement="spans")},
    "k-mers": {"tokenizer": TokenizerConfig(k=3, stride=1)},
}


@pytest.mark.parametrize("objective", ["mlm", "mae"])
@pytest.mark.parametrize("masks", MASKS)
def test_a_step_on_dna(tmp_path, masks, objective):
    config = replace(kinds.dna(tmp_path), **MASKS[masks])
    check(replace(config, model=replace(config.model, objective=objective)), tmp_path)


@pytest.mark.parametrize("objective", ["mlm", "mae"])
@pytest.mark.parametrize("kind", ["text", "image", "cell_genes", "cell_whole"])
def test_a_step_on_other_data(tmp_path, kind, objective):
    config = getattr(kinds, kind)(tmp_path)
    check(replace(config, model=replace(config.model, objective=objective)), tmp_path)


def check(config, folder):
    trainer, first = build(config, folder)
    on_cpu = count(trainer, first(counts_only=False))
    draws_masks = config.mask.placement == "independent" and config.modality in ("dna", "text")
    on_meta = count_on_meta(trainer, first(draws_masks))
    assert not on_meta.reads
    assert draws_masks == any(name in ("masked_embedding", "visible_rank") for name in on_meta.launched)
    for operations in (on_cpu, on_meta):
        assert len(operations.launched) <= MOST, operations.launched


@pytest.mark.long
@pytest.mark.parametrize("placement", ["independent", "spans", "pmi"])
def test_workers_draw_the_masks_that_the_model_would(tmp_path, placement):
    mask = MaskConfig(placement=placement, pmi_length=3, per="sample")
    config = replace(kinds.dna(tmp_path), mask=mask, steps=2, num_workers=1)
    trainer, _ = build(config, tmp_path)
    for step, batch in enumerate(trainer.batches()):
        plan = trainer.masker.plan(step)
        shown, predicted = corrupt(plan, batch.tokens, batch.maskable, batch.sample_ids)
        assert torch.equal(batch.masks.shown, shown)
        assert torch.equal(batch.masks.predicted, predicted)
        by_workers = trainer.model.masked_losses(plan, batch)
        by_model = trainer.model.masked_losses(plan, replace(batch, masks=None))
        assert all(torch.equal(a, b) for a, b in zip(by_workers, by_model, strict=True))


def test_the_counter_sees_what_a_step_must_not_do():
    with Operations() as operations:
        x = torch.ones(4)
        (x + 1).view(2, 2).sum().item()
        x.nonzero()
    assert operations.reads == ["_local_scalar_dense", "nonzero"]
    assert operations.launched == ["ones", "add", "sum", *operations.reads]


@pytest.mark.gpu
@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("objective", ["mlm", "mae"])
def test_a_step_never_waits_for_the_gpu(tmp_path, masks, objective):
    config = replace(kinds.dna(tmp_path), **MASKS[masks], device="cuda", precision="bf16")
    config = replace(config, model=replace(config.model, objective=objective))
    trainer = Trainer(config, build_modality(config), RunDirectory(tmp_path / "run"), CUDA, torch.bfloat16)
    assert trainer.model.draws_masks(trainer.masker.plan(0)) == (masks != "spans")
    source = iter(trainer.batches())
    trainer.training_step(next(source))  # compiles kernels and makes the optimizer's state
    torch.cuda.set_sync_debug_mode("error")
    try:
        row = trainer.training_step(next(source))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert math.isfinite(row["loss"].item())
