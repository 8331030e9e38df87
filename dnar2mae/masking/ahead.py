"""Masks of a batch drawn before its step, on the CPU, by the loader's workers.

A step on a GPU never waits for a size, since the host knows all of them beforehand; a step on a CPU only looks up.
"""

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from dnar2mae.batch import Batch, DrawnMasks, sequence_lengths
from dnar2mae.masking.draw import MaskPlan, corrupt, hidden_tokens

Objective = Literal["mlm", "mae"]


def draw_masks(plan: MaskPlan, batch: Batch, objective: Objective, *, counts_only: bool = False) -> Batch:
    """Draw the masks of a batch, and count the tokens whose number a step must know.

    Parameters
    ----------
    plan
        The step's plan.
    batch
        The samples; read from their device if they are not on the CPU.
    objective
        ``mlm`` or ``mae``, which decides what the encoder sees.
    counts_only
        Keep only the numbers: the model's kernels draw the same masks again.

    Returns
    -------
    Batch
        With ``masks``, and with ``lengths`` where there are documents.
    """
    shown = visible = None
    visible_lengths = None
    if objective == "mlm":
        shown, predicted = corrupt(plan, _shown_unmasked(batch), batch.maskable, batch.sample_ids)
    else:
        hidden, predicted = hidden_tokens(plan, batch.tokens, batch.maskable, batch.sample_ids)
        visible = batch.exists() & ~hidden
        visible_lengths = sequence_lengths(visible, batch.documents)
    masks = DrawnMasks(num_predicted=tuple(predicted.sum(1).tolist()), visible_lengths=visible_lengths)
    if not counts_only:
        masks = replace(masks, predicted=predicted, shown=shown, visible=visible)
    lengths = None if batch.documents is None else sequence_lengths(batch.exists(), batch.documents)
    return replace(batch, masks=masks, lengths=lengths)


def _shown_unmasked(batch: Batch) -> Int[Tensor, "B T"]:
    """Return what the encoder sees of unmasked tokens: ids, or where they carry values, whose values (from 1)."""
    if batch.values is None:
        return batch.tokens
    position = torch.arange(1, batch.tokens.shape[1] + 1, device=batch.tokens.device, dtype=torch.int32)
    return position.expand(batch.tokens.shape)
