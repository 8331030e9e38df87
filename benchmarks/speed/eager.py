"""Masking and embedding in eager PyTorch, the baseline of the kernels; and the inputs they share."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dnar2mae.benchmarks.speed.measure import LENGTH, Case
from dnar2mae.config import MaskConfig
from dnar2mae.masking import Masker, MaskPlan
from dnar2mae.tokenizers.vocabulary import Vocabulary

LOW, HIGH = 0.05, 0.5
SPECIAL, MASK_ID = 3, 1


@dataclass(frozen=True)
class Inputs:
    """A batch without padding, the embedding and its norm, and the mask plan."""

    weight: Tensor
    norm: Tensor
    tokens: Tensor
    maskable: Tensor
    sample_ids: Tensor
    plan: MaskPlan

    def table(self) -> Tensor:
        """Return the embedding rows, normalised."""
        return F.layer_norm(self.weight, (self.weight.shape[1],), self.norm)


def inputs(case: Case, device: str) -> Inputs:
    """Draw the inputs of a case."""
    batch, num_real = case.tokens // LENGTH, case.vocabulary - SPECIAL
    vocabulary = Vocabulary(
        size=case.vocabulary, pad_id=0, mask_id=MASK_ID, unk_id=2, first_real=SPECIAL, num_real=num_real
    )
    parameter: dict[str, Any] = {"device": device, "requires_grad": True}
    tokens = torch.randint(SPECIAL, case.vocabulary, (batch, LENGTH), device=device)
    return Inputs(
        weight=torch.randn(case.vocabulary, case.width, **parameter),
        norm=torch.ones(case.width, **parameter),
        tokens=tokens,
        maskable=tokens >= SPECIAL,
        sample_ids=torch.arange(batch, device=device),
        plan=Masker(MaskConfig(low=LOW, high=HIGH), vocabulary, seed=0, total_steps=1000).plan(0),
    )


def draw(tokens: Tensor, maskable: Tensor) -> Tensor:
    """Draw masked tokens at a ratio drawn for the batch."""
    ratio = torch.empty((), device=tokens.device).uniform_(LOW, HIGH)
    return (torch.rand(tokens.shape, device=tokens.device) < ratio) & maskable


def masked_embedding(weight: Tensor, norm: Tensor, tokens: Tensor, maskable: Tensor, dtype: torch.dtype) -> Tensor:
    """Draw Bernoulli masks, replace 80/10/10, look up, normalise."""
    masked = draw(tokens, maskable)
    kind = torch.rand(tokens.shape, device=tokens.device)
    shown = torch.where(masked & (kind < 0.8), MASK_ID, tokens)
    random = torch.randint_like(tokens, SPECIAL, weight.shape[0])
    shown = torch.where(masked & (kind >= 0.8) & (kind < 0.9), random, shown)
    return F.layer_norm(F.embedding(shown, weight), (weight.shape[1],), norm).to(dtype)


def visible_gather(weight: Tensor, norm: Tensor, tokens: Tensor, maskable: Tensor, dtype: torch.dtype) -> Tensor:
    """Draw Bernoulli masks, look up, normalise, select the visible tokens."""
    embedded = F.layer_norm(F.embedding(tokens, weight), (weight.shape[1],), norm)
    return embedded[~draw(tokens, maskable)].to(dtype)
