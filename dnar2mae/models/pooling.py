"""From a vector a token to a vector a sample that keeps what is strong, and where it stands."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

MAX_LAYERS = 6
"""Layers that are pooled side by side, evenly spaced up to the last: twelve of width 768 would be 18,432 columns."""


def pooled_layers(depth: int) -> list[int]:
    """Return the layers that are pooled, ascending: the last is ``depth``."""
    count = min(depth, MAX_LAYERS)
    return [-(-depth * (i + 1) // count) for i in range(count)]


def mean_and_max(hidden: Float[Tensor, "B T D"], counts: Bool[Tensor, "B T"]) -> Float[Tensor, "B E"]:
    """Return both over the tokens that count, side by side; zero where none does."""
    number = counts.sum(1, keepdim=True)
    mean = torch.einsum("btd,bt->bd", hidden, counts.to(hidden.dtype)) / number.clamp(min=1)
    if _on_host(counts) and bool(counts.all()):
        return torch.cat([mean, hidden.amax(1)], 1)
    largest = hidden.masked_fill(~counts[..., None], -torch.inf).amax(1)
    return torch.cat([mean, largest.masked_fill(number == 0, 0)], 1)


def side_by_side(layers: Sequence[Tensor], counts: Bool[Tensor, "B T"]) -> Float[Tensor, "B _"]:
    """Return :func:`mean_and_max` of several layers, in fp32; one with one vector a sample, [B, D], stays as it is."""
    whole = [layer.float() for layer in layers]
    return torch.cat([layer if layer.ndim == 2 else mean_and_max(layer, counts) for layer in whole], 1)


def mean_and_max_of_parts(
    hidden: Float[Tensor, "B T D"], counts: Bool[Tensor, "B T"], number: int
) -> Float[Tensor, "B E"]:
    """Return both for each of so many equal parts of the tokens that count, from first to last."""
    # where the same tokens of all samples count, parts are slices of them
    if _on_host(counts) and bool((counts == counts[:1]).all()):
        counted = hidden if bool(counts.all()) else hidden[:, counts[0]]
        ends = [-(-counted.shape[1] * i // number) for i in range(number + 1)]
        return torch.cat([_mean_and_max_of_all(counted[:, a:b]) for a, b in pairwise(ends)], 1)
    rank = counts.long().cumsum(1) - 1  # among the tokens that count
    part = rank * number // counts.sum(1, keepdim=True).clamp(min=1)
    return torch.cat([mean_and_max(hidden, counts & (part == i)) for i in range(number)], 1)


def _on_host(counts: Tensor) -> bool:
    """Return whether a look at the values waits for nothing."""
    return counts.device.type == "cpu"


def _mean_and_max_of_all(hidden: Float[Tensor, "B T D"]) -> Float[Tensor, "B E"]:
    if not hidden.shape[1]:
        return hidden.new_zeros(len(hidden), 2 * hidden.shape[2])
    return torch.cat([hidden.mean(1), hidden.amax(1)], 1)
