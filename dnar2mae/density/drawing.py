r"""Drawing tokens from a masked model: unmask in random order, some tokens a step, as absorbing diffusion backwards.

At step s of S the hidden tokens whose places in a random order are up to the share (s + 1) / S become known: each is
drawn from the model's probabilities given all that is known before the step. One token a step is an exact draw from the
model's density of that order; several at once are drawn as if independent. Every choice is a pure function of the seed,
the number of the sequence and the position.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dnar2mae.batch import Batch
from dnar2mae.density.hidden import encode_hidden, evaluation_plan, hide, ranks
from dnar2mae.masking import MaskPlan
from dnar2mae.models import MaskedModel
from dnar2mae.models.hidden_states import tokens_at_once
from dnar2mae.random import Stream, draw, unit


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampler:
    """How tokens are drawn."""

    steps: int = 64
    """Forward passes for a window, at most."""
    temperature: float = 1.0
    """0 takes the likeliest token."""
    seed: int = 0


@dataclass(kw_only=True, eq=False)
class Unfinished:
    """A sequence of which some tokens are to be drawn."""

    number: int
    """What its draws depend on, beside the seed."""
    tokens: Int[np.ndarray, " T"]
    """Ids; replaced as they are drawn."""
    hidden: Bool[np.ndarray, " T"]
    """Those still to be drawn."""

    def next_window(self, length: int) -> int:
        """Return where the window starts in which the first hidden run is drawn.

        The run is in its middle, both flanks in view; of a run longer than half a window the left flank is, and its
        rest is drawn by later windows.
        """
        first = int(np.argmax(self.hidden))
        after = np.flatnonzero(~self.hidden[first:])
        run = int(after[0]) if len(after) else len(self.hidden) - first
        flank = (length - run) // 2 if run <= length // 2 else length // 2
        return min(max(first - flank, 0), len(self.tokens) - length)


@torch.inference_mode()
def draw_tasks(
    model: MaskedModel,
    tasks: Sequence[Unfinished],
    window_tokens: int,
    sampler: Sampler,
    *,
    advance: Callable[[int], object] = lambda number: None,
) -> None:
    """Draw all hidden tokens of sequences, in place.

    Parameters
    ----------
    model
        In evaluation mode, with probabilities of tokens.
    tasks
        The sequences.
    window_tokens
        Most tokens that the model sees at once.
    sampler
        Steps, temperature and seed.
    advance
        Called with the number of tokens drawn.
    """
    plan = evaluation_plan(model.vocabulary)
    device = next(model.parameters()).device
    waiting = sorted((task for task in tasks if task.hidden.any()), key=lambda task: len(task.tokens))
    while waiting:
        length = min(len(waiting[0].tokens), window_tokens)
        size = max(2 * tokens_at_once(device) // length, 1)
        members = [task for task in waiting[:size] if min(len(task.tokens), window_tokens) == length]
        starts = np.array([task.next_window(length) for task in members])
        spans = [slice(start, start + length) for start in starts]
        tokens = torch.from_numpy(np.stack([task.tokens[at] for task, at in zip(members, spans, strict=True)]))
        hidden = torch.from_numpy(np.stack([task.hidden[at] for task, at in zip(members, spans, strict=True)]))
        numbers = torch.tensor([task.number for task in members])
        batch = Batch(tokens, hidden, torch.ones(tokens.shape), numbers).to(device)
        drawn = _unmask(model, plan, batch, torch.from_numpy(starts).to(device), sampler=sampler, advance=advance)
        for task, at, row in zip(members, spans, drawn.cpu().numpy(), strict=True):
            task.tokens[at], task.hidden[at] = row, False
        waiting = [task for task in waiting if task.hidden.any()]


def _unmask(
    model: MaskedModel,
    plan: MaskPlan,
    batch: Batch,
    starts: Int[Tensor, " B"],
    *,
    sampler: Sampler,
    advance: Callable[[int], object],
) -> Int[Tensor, "B T"]:
    """Draw the maskable tokens of windows, one forward pass a step for all of them."""
    tokens, number = batch.tokens.clone(), batch.maskable.sum(1, keepdim=True)
    rank = ranks("random", sampler.seed, batch.sample_ids, batch.maskable)
    steps = min(sampler.steps, int(number.max()))
    for step in range(steps):
        # of each row as many as bring it to the share (step + 1) / steps, rounded up
        first, last = -(-number * step // steps), -(-number * (step + 1) // steps)
        now = batch.maskable & (rank >= first) & (rank < last)
        index = now.flatten().nonzero().squeeze(1)
        known = Batch(tokens, batch.maskable, batch.weight, batch.sample_ids)
        masked = hide(model, known, batch.maskable & (rank >= first), now)
        logits = model.logits(encode_hidden(model, plan, masked, index))[:, model.vocabulary.real]
        row, column = index // tokens.shape[1], index % tokens.shape[1]
        words = draw(sampler.seed, Stream.DRAW, batch.sample_ids[row], starts[row] + column)
        choice = _chosen(logits.double(), sampler.temperature, unit(words[0], words[1]))
        tokens.view(-1)[index] = (choice + model.vocabulary.first_real).to(tokens.dtype)
        advance(len(index))
    return tokens


def _chosen(logits: Float[Tensor, "M R"], temperature: float, share: Float[Tensor, " M"]) -> Int[Tensor, " M"]:
    """Return the token at which the probabilities, added up, pass a share in [0, 1)."""
    if temperature == 0:
        return logits.argmax(-1)
    upto = (logits / temperature).softmax(-1).cumsum(-1)
    return (upto <= share[:, None] * upto[:, -1:]).sum(-1).clamp(max=logits.shape[1] - 1)
