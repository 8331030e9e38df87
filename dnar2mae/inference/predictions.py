"""Masked predictions of many sequences, batched by length and position."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int

from dnar2mae.errors import RunError
from dnar2mae.models import MaskedModel
from dnar2mae.models.hidden_states import tokens_at_once


@torch.inference_mode()
def masked_log_probabilities(
    module: MaskedModel,
    tokens: Sequence[Int[np.ndarray, " _"]],
    positions: Sequence[Int[np.ndarray, " _"]],
    batch_tokens: int | None = None,
) -> list[Float[np.ndarray, "_ R"]]:
    """Return predictions of tokens where inputs show [MASK], computing only what these depend on.

    Parameters
    ----------
    module
        A model of objective ``mlm``.
    tokens
        Ids as the model sees them.
    positions
        Positions to predict in each sequence, ascending, at least one.
    batch_tokens
        Most tokens of a batch (a longer sequence is a batch of its own); by default what suits the device.

    Returns
    -------
    list of float32 [M, R]
        Log-probability (nats) of each real token, first the one of id ``first_real``, at each position.

    Raises
    ------
    RunError
        If the model was trained under the objective ``mae``: its encoder has never seen [MASK].
    """
    if module.decoder is not None:
        raise RunError("masked predictions need a model of --model.objective mlm, got mae")
    device = next(module.parameters()).device
    predictions: list[np.ndarray] = [np.empty(0)] * len(tokens)
    for members in _batches(tokens, positions, batch_tokens or tokens_at_once(device)):
        counts = [len(positions[i]) for i in members]
        row = torch.from_numpy(np.repeat(np.arange(len(members)), counts)).to(device)
        position = np.concatenate([positions[i] for i in members]).astype(np.int64)
        start, end = int(position.min()), int(position.max()) + 1
        ids = torch.from_numpy(np.stack([tokens[i] for i in members])).to(device)
        hidden = module.encoder.encode_span(module.embedder(ids), start, end)
        logits = module.logits(hidden[row, torch.from_numpy(position - start).to(device)])
        scores = F.log_softmax(logits[:, module.vocabulary.real], dim=-1).cpu().numpy()
        for i, part in zip(members, np.split(scores, np.cumsum(counts)[:-1]), strict=True):
            predictions[i] = part
    return predictions


def _batches(tokens: Sequence[np.ndarray], positions: Sequence[np.ndarray], batch_tokens: int) -> Iterator[list[int]]:
    """Yield indices of inputs of one length with predictions near each other; the longest inputs first."""
    order = sorted(range(len(tokens)), key=lambda i: (-len(tokens[i]), positions[i][0], positions[i][-1]))
    start = 0
    while start < len(order):
        length = len(tokens[order[start]])
        batch = order[start : start + max(batch_tokens // length, 1)]
        batch = [i for i in batch if len(tokens[i]) == length]
        yield batch
        start += len(batch)
