"""What can be trained and timed alike: our Trainer, ``transformers``' ModernBERT, and a GPN-like network.

All read the same windows of a genome, and are judged at the same masks of the same held-out windows.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from dnar2mae.batch import FiniteSource, batches_of, evenly_spaced
from dnar2mae.benchmarks.speed import hugging_face
from dnar2mae.benchmarks.speed.end_to_end import our_trainer
from dnar2mae.benchmarks.speed.gpn import IGNORED, GpnNet, mask_tokens
from dnar2mae.config import DataConfig, MaskConfig, PretrainConfig
from dnar2mae.masking import Masker, MaskPlan, corrupt, fixed_masks
from dnar2mae.modalities.dna.modality import DnaModality
from dnar2mae.training.device import choose_device
from dnar2mae.training.optimizer import learning_rate
from dnar2mae.training.validation import masked_sums

AfterStep = Callable[[int], object]
_BATCH_TOKENS = 8192  # predicted at once, as our own validation does
_ATEN = torch.ops.aten
# the counter does not know the CPU's attention; its arguments begin as those of the GPU's do
_CPU_ATTENTION = {
    _ATEN._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v),
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: lambda grad, q, k, v, *_, **__: (
        sdpa_backward_flop_count(grad, q, k, v)
    ),
}


@dataclass(frozen=True)
class HeldOut:
    """Held-out windows of a genome with the masks of a validation; no run's settings change them."""

    source: FiniteSource
    sample_ids: Int[np.ndarray, " S"]
    plan: MaskPlan
    """Any plan: its ratio is replaced."""

    @classmethod
    def of_genome(cls, genome: Path, num_windows: int) -> "HeldOut":
        """Return windows of the default length, spread evenly over the held-out tenth.

        Raises
        ------
        SequenceError
            If the genome cannot be read, or has no window to hold out.
        """
        modality = DnaModality(PretrainConfig(data=DataConfig(genomes=(str(genome),))))
        plan = Masker(MaskConfig(), modality.vocabulary, seed=0, total_steps=1).plan(0)
        return cls(modality.validation, evenly_spaced(len(modality.validation), num_windows), plan)


class Learner(ABC):
    """A model about to be trained on single bases; it may write to ``folder``.

    Of the configuration data, sizes, steps, batch, learning rate, precision and seed count.
    """

    model: nn.Module
    """What is trained."""

    def __init__(self, config: PretrainConfig, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.device, self.autocast = choose_device(config)

    @abstractmethod
    def train(self, after_step: AfterStep) -> None:
        """Do all steps; call ``after_step`` with 0 before the first, and with their number after each."""

    @abstractmethod
    def masked_sums(self, held_out: HeldOut, plan: MaskPlan) -> tuple[float, float]:
        """Return the summed losses in nats of the held-out bases that a plan masks, and their number."""

    def bits_per_base(self, held_out: HeldOut, ratio: float) -> float:
        """Return the held-out loss at a mask ratio; every masked base shows [MASK]."""
        loss, number = self.masked_sums(held_out, fixed_masks(held_out.plan, ratio))
        return loss / number / math.log(2)

    def num_parameters(self) -> int:
        """Count the weights; shared ones once."""
        return sum(parameter.numel() for parameter in self.model.parameters())


class OurLearner(Learner):
    """Our Trainer, as ``dnar2mae pretrain`` drives it."""

    def __init__(self, config: PretrainConfig, folder: Path) -> None:
        super().__init__(config, folder)
        self.trainer = our_trainer(config, folder)
        self.model = self.trainer.model

    def train(self, after_step: AfterStep) -> None:
        """Do all steps."""
        after_step(0)
        for batch in self.trainer.batches():
            self.trainer.training_step(batch)
            after_step(self.trainer.step)

    def masked_sums(self, held_out: HeldOut, plan: MaskPlan) -> tuple[float, float]:
        """Sum by the validation of a run."""
        model, ids = self.trainer.model, held_out.sample_ids
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            loss, number, *_ = masked_sums(model, held_out.source, plan, ids).sum(1)
        return float(loss), float(number)


class OutsideLearner(Learner):
    """Somebody else's model; sub-classes say how it is trained and what it predicts."""

    @abstractmethod
    def logits(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Return the logits of every token, whatever the model's vocabulary holds beside the bases."""

    @torch.no_grad()
    def masked_sums(self, held_out: HeldOut, plan: MaskPlan) -> tuple[float, float]:
        """Sum the losses under a softmax over the four bases, as our own models' losses are."""
        ids, (first, number) = held_out.sample_ids, plan.real_ids
        size = max(_BATCH_TOKENS // held_out.source.batch(ids[:1]).tokens.shape[1], 1)
        total, count = 0.0, 0
        self.model.eval()
        for batch in (part.to(self.device) for part in batches_of(held_out.source, ids, size)):
            inputs, predicted = corrupt(plan, batch.tokens, batch.maskable, batch.sample_ids)
            with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
                logits = self.logits(inputs)[predicted][:, first : first + number]
            labels = batch.tokens[predicted].long() - first
            total += F.cross_entropy(logits.float(), labels, reduction="none").double().sum().item()
            count += len(labels)
        self.model.train()
        return total, count


class ModernBertLearner(OutsideLearner):
    """ModernBERT of the configuration's sizes with the Trainer and the masking collator of ``transformers``."""

    def __init__(self, config: PretrainConfig, folder: Path) -> None:
        super().__init__(config, folder)
        warmup = config.optimizer.warmup_steps
        self.trainer = hugging_face.stock_trainer(config, DnaModality(config), folder, warmup_steps=warmup)
        self.model = self.trainer.model

    def train(self, after_step: AfterStep) -> None:
        """Do all steps."""
        hugging_face.train(self.trainer, after_step)

    def logits(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Return the logits of every token."""
        return self.model(input_ids=tokens.long()).logits


class GpnLearner(OutsideLearner):
    """A GPN-like network of the configuration's width and depth in a plain PyTorch loop."""

    def __init__(self, config: PretrainConfig, folder: Path) -> None:
        super().__init__(config, folder)
        self.modality = DnaModality(config)
        torch.manual_seed(config.seed)
        self.model = GpnNet(self.modality.vocabulary.size, config.model.width, config.model.depth).to(self.device)

    def train(self, after_step: AfterStep) -> None:
        """Do all steps: AdamW, a linear warm-up, a cosine decay."""
        size, steps = self.config.batch_size, self.config.steps
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=self.config.optimizer.lr, weight_decay=0.01)
        relative = replace(self.config.optimizer, lr=1.0, schedule="cosine", final_lr_share=0.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate(step, steps, relative))
        after_step(0)
        for step in range(steps):
            tokens = self.modality.train.batch(np.arange(step * size, (step + 1) * size)).tokens
            inputs, labels = (x.to(self.device) for x in mask_tokens(tokens, self.modality.vocabulary))
            with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
                logits = self.logits(inputs)
            loss = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            after_step(step + 1)

    def logits(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Return the logits of every token."""
        return self.model(tokens)


def flops_per_step(learner: Learner) -> float:
    """Return the operations of a step, as executed, over a short run that is not used otherwise: counting is slow.

    Counted are matrix products, convolutions and attention, of both passes and of the optimizer; a multiplication and
    an addition are two operations. What attention computes and then masks counts.
    """
    with FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION) as counter:
        learner.train(lambda _: None)
    return counter.get_total_flops() / learner.config.steps
