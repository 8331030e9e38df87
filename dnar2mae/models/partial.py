"""The encoder's output at a span of positions, computing only what the span depends on."""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dnar2mae.models.backbone import Backbone
from dnar2mae.models.transformer import Layer, Scope, Transformer, rotate


@torch.no_grad()
def encode_span(encoder: Backbone, x: Float[Tensor, "B T D"], start: int, end: int) -> Float[Tensor, "B S D"]:
    """Return the encoder's output at the positions ``[start, end)``: ``encoder(x)[:, start:end]`` up to rounding.

    The output of a local layer depends on inputs within its window. Going down from the last layer, the span that is
    needed grows by that window until a global layer needs everything; above that layer, and in its queries and
    feed-forward block, nothing outside the span is computed. No gradients.

    Parameters
    ----------
    encoder
        The stack of layers; of other backbones than the Transformer everything is computed.
    x
        Embedded tokens of sequences of one length, without padding.
    start, end
        Span of positions, 0-based half-open.

    Returns
    -------
    Tensor
        One vector per position of the span.
    """
    if not isinstance(encoder, Transformer):
        return encoder.encode(x, None)[:, start:end]
    length = x.shape[1]
    everything, spans = (0, length), [(start, end)]
    everywhere, nearby = encoder.scopes(x, None)
    layers = cast(list[Layer], list(encoder.layers))
    for layer in layers[:0:-1]:  # layer 0 reads the embeddings, which are there for all positions
        first, last = spans[-1]
        reach = length if layer.is_global or nearby.window is None else nearby.window
        spans.append((max(first - reach, 0), min(last + reach, length)))
    have = everything
    for layer, want in zip(layers, reversed(spans), strict=True):
        scope = everywhere if layer.is_global else nearby
        x = layer(x, scope, None, encoder.backend) if want == everything else _layer_span(layer, x, scope, have, want)
        have = want
    return encoder.final_norm(x)


def _layer_span(
    layer: Layer, x: Float[Tensor, "B T D"], scope: Scope, have: tuple[int, int], want: tuple[int, int]
) -> Float[Tensor, "B S D"]:
    """Return a layer's output at the positions ``want``, from its input at the positions ``have``."""
    width, keys, queries = x.shape[-1], slice(*have), slice(*want)
    own = slice(want[0] - have[0], want[1] - have[0])
    normed = layer.attention_norm(x)
    query = F.linear(normed[:, own], layer.qkv.weight[:width]).unflatten(-1, (layer.heads, -1))
    key, value = F.linear(normed, layer.qkv.weight[width:]).unflatten(-1, (2, layer.heads, -1)).unbind(-3)
    cos, sin = (angle.to(key.dtype)[:, None] for angle in (scope.cos, scope.sin))
    query, key = rotate(query, cos[queries], sin[queries]), rotate(key, cos[keys], sin[keys])
    visible = None
    if scope.window is not None:
        position = torch.arange(len(scope.cos), device=x.device)
        visible = (position[queries, None] - position[keys]).abs() <= scope.window
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=visible).transpose(1, 2)
    return layer.feed_forward(x[:, own] + layer.attention_out(mixed.flatten(-2)))
