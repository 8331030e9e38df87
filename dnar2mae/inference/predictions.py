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
        wanted, place = np.unique(np.concatenate([positions[i] for i in members]), return_inverse=True)
        ids = torch.from_numpy(np.stack([tokens[i] for i in members])).to(device)
        hidden = module.encoder.encode_at(module.embedder(ids), wanted)
        logits = module.logits(hidden[row, torch.from_numpy(place).to(device)])
        scores = F.log_softmax(logits[:, module.vocabulary.real], dim=-1).cpu().numpy()
        for i, part in zip(members, np.split(scores, np.cumsum(counts)[:-1]), strict=True):
            predictions[i] = part
    return predictions


def _batches(tokens: Sequence[np.ndarray], positions: Sequence[np.ndarray], batch_tokens: int) -> Iterator[list[int]]:
    """Yield indices of inputs of one length with predictions at the same places; the longest inputs first.

    What is computed grows with the places, and a few inputs cost nearly as much as many: a batch takes in inputs with
    other places until it is a quarter full.
    """
    keys = [(-len(ids), tuple(at.tolist())) for ids, at in zip(tokens, positions, strict=True)]
    order = sorted(range(len(tokens)), key=keys.__getitem__)
    start = 0
    while start < len(order):
        length = len(tokens[order[start]])
        most = max(batch_tokens // length, 1)
        end = start + 1
        while end < min(start + most, len(order)) and len(tokens[order[end]]) == length:
            if keys[order[end]] != keys[order[end - 1]] and 4 * (end - start) >= most:
                break
            end += 1
        yield order[start:end]
        start = end
