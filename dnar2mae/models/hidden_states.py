"""Hidden states of many sequences of tokens, batched by length."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dnar2mae.batch import Batch
from dnar2mae.errors import ConfigError
from dnar2mae.masking import MaskPlan
from dnar2mae.models.masked import MaskedModel
from dnar2mae.models.mlp import Mlp
from dnar2mae.models.pooling import pooled_layers, side_by_side


def hidden_states(
    module: MaskedModel,
    tokens: Sequence[Int[np.ndarray, " _"]],
    *,
    layer: int | Literal["units"] = -1,
    batch_tokens: int | None = None,
) -> Iterator[tuple[Int[np.ndarray, " B"], Float[Tensor, "B T D"]]]:
    """Encode sequences of token ids in batches of similar length.

    Parameters
    ----------
    layer
        0 is the normalised embedding, i the output of the i-th layer, and the depth (or -1) that of the final norm;
        ``units`` are the hidden units of several layers, side by side (:func:`hidden_units`, :func:`.pooled_layers`).
    batch_tokens
        Most tokens of a batch, padding included (a longer sequence is a batch of its own); by default
        :func:`tokens_at_once`.

    Yields
    ------
    members, hidden
        Indices of a batch's sequences and their vectors; those past a sequence's end are padding.

    Raises
    ------
    ConfigError
        If there is no such layer.
    """
    depth = module.config.depth
    if layer != "units" and not -depth - 1 <= layer <= depth:
        raise ConfigError(f"--layer must be in -{depth + 1}..{depth}, got {layer}")
    device = next(module.parameters()).device
    for members in _batches([len(ids) for ids in tokens], batch_tokens or tokens_at_once(device)):
        lengths = np.array([len(tokens[i]) for i in members])
        padded = np.full((len(members), lengths.max()), module.vocabulary.pad_id, np.int32)
        for row, i in enumerate(members):
            padded[row, : lengths[row]] = tokens[i]
        valid = np.arange(lengths.max()) < lengths[:, None]
        mask = None if valid.all() else torch.from_numpy(valid).to(device)
        ids = torch.from_numpy(padded).to(device)
        with torch.inference_mode():  # not over the yield, where it would reach the caller
            if layer == "units":
                of_valid = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
                with hidden_units(module, pooled_layers(depth), of_valid) as parts:
                    layer_outputs(module, ids, mask, [depth])
                hidden = torch.cat(parts, -1)
            else:
                hidden = layer_outputs(module, ids, mask, [layer % (depth + 1)])[0]
        yield members, hidden


def tokens_at_once(device: torch.device) -> int:
    """Return how many tokens of a batch suit a device: 4096 fit a CPU's cache."""
    return 4096 if device.type == "cpu" else 65_536


def _batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[Int[np.ndarray, " B"]]:
    """Yield indices by falling length, in batches of at most this many tokens: the first shows if memory suffices."""
    order = np.argsort(lengths, kind="stable")[::-1]
    start = 0
    while start < len(order):
        size = max(batch_tokens // lengths[order[start]], 1)
        yield order[start : start + size]
        start += size


def layer_outputs(
    module: MaskedModel, tokens: Int[Tensor, "B T"], valid: Bool[Tensor, "B T"] | None, layers: Sequence[int]
) -> list[Tensor]:
    """Encode tokens as :meth:`.MaskedModel.forward`, and return the vectors at some depths, which ascend.

    0 is the normalised embedding, i the output of the i-th layer, and the model's depth that of the final norm.
    """
    return embedded_outputs(module, module.embedder(tokens), valid, layers)


def embedded_outputs(
    module: MaskedModel, x: Float[Tensor, "B T D"], valid: Bool[Tensor, "B T"] | None, layers: Sequence[int]
) -> list[Tensor]:
    """Return the same from the vectors that the embedder gives, with gradients to them."""
    depth = module.config.depth
    if tuple(layers) == (0,):
        return [x]
    documents = None if valid is None or bool(valid.all()) else valid.int() - 1
    inner = [layer for layer in layers if 0 < layer < depth]
    outputs, last = _run(module, lambda: module.encoder.encode(x, documents), inner)
    first = [x] if 0 in layers else []
    return [*first, *(_padded(hidden, valid) for hidden in outputs), *([last] if depth in layers else [])]


def sample_layers(
    module: MaskedModel, batch: Batch, layers: Sequence[int], plan: MaskPlan | None = None
) -> list[Tensor]:
    """Encode samples of one document each as :meth:`.MaskedModel.encode`; return the vectors at some depths.

    Depths are from 1 on, as for :func:`layer_outputs`; the last one is the model's depth. Vectors are ``[B, T, D]``; of
    a perceptron, which has one a sample, ``[B, W]``. Under a ``plan`` the encoder sees what it masks as [MASK]; by
    default nothing is masked.
    """
    if plan is None:
        embedded = module.embedder(batch.tokens, batch.values)
    else:
        embedded, _ = module.embedder.masked(plan, module.with_masks(plan, batch))
    if isinstance(encoder := module.encoder, Mlp):
        outputs, last = _run(module, lambda: encoder.pooled(embedded, batch.documents, batch.maskable), layers[:-1])
        return [*outputs, last]
    outputs, last = _run(module, lambda: encoder.encode(embedded, batch.documents), layers[:-1])
    valid = None if batch.documents is None else batch.documents >= 0
    return [*(_padded(hidden.flatten(1, -2) if hidden.ndim > 3 else hidden, valid) for hidden in outputs), last]


@contextmanager
def hidden_units(
    module: MaskedModel, layers: Sequence[int], valid: Bool[Tensor, "B T"] | None
) -> Iterator[list[Tensor]]:
    """Collect, during a pass, the hidden units of some layers' feed-forward blocks, after their nonlinearity.

    A unit is a detector that the network has learned; the residual stream has their sum. Depths are from 1 on.

    Parameters
    ----------
    valid
        Which tokens are not padding; by default all are.

    Yields
    ------
    units
        Filled by the pass, in order: ``[B, T, M]``, or ``[B, M]`` of a perceptron, which has one vector a sample.
    """
    units: list[Tensor] = []
    one_a_sample = isinstance(module.encoder, Mlp)

    def keep(block: nn.Module, inputs: tuple[Tensor]) -> None:
        (hidden,) = inputs
        hidden = hidden.flatten(1, -2) if hidden.ndim > 3 else hidden
        units.append(hidden if one_a_sample else _padded(hidden, valid))

    blocks = [cast(nn.Module, module.encoder.layers[layer - 1].mlp_out) for layer in layers]
    hooks = [block.register_forward_pre_hook(keep) for block in blocks]
    try:
        yield units
    finally:
        for hook in hooks:
            hook.remove()


def pooled_units(module: MaskedModel, batch: Batch) -> Float[Tensor, "B E"]:
    """Return one fp32 vector per sample: mean and maximum over its tokens of the hidden units of several layers.

    Layers are those of :func:`.pooling.pooled_layers`, side by side; a perceptron's units are one vector a sample.
    """
    valid = None if batch.documents is None else batch.documents >= 0
    with hidden_units(module, pooled_layers(module.config.depth), valid) as units:
        module.pooled(batch)
    return side_by_side(units, batch.maskable)


def _run(module: MaskedModel, run: Callable[[], Tensor], layers: Sequence[int]) -> tuple[list[Tensor], Tensor]:
    """Return what inner layers put out during a pass, and its result."""
    outputs: list[Tensor] = []
    inner = [module.encoder.layers[layer - 1] for layer in layers]
    hooks = [layer.register_forward_hook(lambda *call: outputs.append(call[-1])) for layer in inner]
    try:
        return outputs, run()
    finally:
        for hook in hooks:
            hook.remove()


def _padded(hidden: Tensor, valid: Tensor | None) -> Tensor:
    """Put padding back where rows are packed, [N, D]."""
    if hidden.ndim == 3 or valid is None:
        return hidden
    return hidden.new_zeros(*valid.shape, hidden.shape[-1]).masked_scatter(valid[..., None], hidden)
