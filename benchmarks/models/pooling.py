"""From a vector a token to vectors of a sample: mean and maximum over layers, hidden units and parts of the input."""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from dnar2mae.models.pooling import mean_and_max_of_parts, side_by_side

VECTOR = "vector"
"""The vector that ``embed`` gives; of sequences the mean over the tokens of the last layer."""
UNITS = "units"
"""Hidden units of the feed-forward blocks of the pooled layers."""
_BINS = {"bins": 4, "bins8": 8}
"""Equal parts of a sequence."""
CENTRE = "centre"
"""The last layer's vectors of the tokens in the middle of a sequence, side by side."""
_CENTRE_TOKENS = 8
_EARLY = "early_"  # bins of the layer at a third of the pooled ones
_GRID_BINS = (3, 3)  # equal parts of a grid


def pool_layers(
    layers: Sequence[Tensor],
    counts: Bool[Tensor, "B T"],
    axes: tuple[int, ...] = (0,),
    *,
    units: Sequence[Tensor] = (),
    wanted: Collection[str] = tuple(_BINS),
) -> dict[str, Float[Tensor, "B _"]]:
    """Return mean and maximum over tokens of all layers side by side and, of one of them, by position.

    Parameters
    ----------
    layers
        ``[B, T, D]`` each, or ``[B, D]`` of a network that has one vector a sample, which stays as it is.
    counts
        Tokens that count, one or more in each sample.
    axes
        As in :class:`dnar2mae.batch.Layout`: tokens in a row have four and eight parts, those of a
        grid 3 x 3, of a set none.
    units
        Hidden units of the layers, in the same shapes; where there are any, ``units`` is their mean and maximum.
    wanted
        Which parts to return besides ``all`` and ``units``: ``bins``, ``bins8`` and ``centre`` of the last layer,
        ``early_bins`` and ``early_bins8`` of the layer at a third of those given, unless it is the last one. A grid has
        one division, under the first name that is wanted, and no centre.
    """
    layers = [hidden.float() for hidden in layers]
    out = {"all": side_by_side(layers, counts)}
    if units:
        out[UNITS] = side_by_side(units, counts)
    early = layers[(len(layers) - 1) // 3]
    for prefix, hidden in {"": layers[-1], _EARLY: early}.items():
        if hidden.ndim > 2 and not (prefix and early is layers[-1]):
            out |= _by_place(hidden, counts, axes, prefix, wanted)
    if CENTRE in wanted and layers[-1].ndim > 2 and len(axes) == 1:
        out[CENTRE] = _centre(layers[-1], counts)
    return out


def _centre(hidden: Float[Tensor, "B T D"], counts: Bool[Tensor, "B T"]) -> Float[Tensor, "B _"]:
    """Return the vectors of the eight tokens in the middle of those that count; zero where there are fewer."""
    rank, number = counts.long().cumsum(1) - 1, counts.sum(1, keepdim=True)
    place = rank - (number - _CENTRE_TOKENS) // 2
    row, token = (counts & (place >= 0) & (place < _CENTRE_TOKENS)).nonzero(as_tuple=True)
    out = hidden.new_zeros(len(hidden), _CENTRE_TOKENS, hidden.shape[-1])
    out[row, place[row, token]] = hidden[row, token]
    return out.flatten(1)


def _by_place(
    hidden: Float[Tensor, "B T D"],
    counts: Bool[Tensor, "B T"],
    axes: tuple[int, ...],
    prefix: str,
    wanted: Collection[str],
) -> dict[str, Float[Tensor, "B _"]]:
    names = [name for name in _BINS if prefix + name in wanted]
    if len(axes) == 1:
        return {prefix + name: mean_and_max_of_parts(hidden, counts, _BINS[name]) for name in names}
    if len(axes) == 2 and names:
        grid = hidden.unflatten(1, axes).movedim(-1, 1)
        parts = F.adaptive_avg_pool2d(grid, _GRID_BINS), F.adaptive_max_pool2d(grid, _GRID_BINS)
        return {prefix + names[0]: torch.cat([part.flatten(1) for part in parts], 1)}
    return {}


def by_name(pooled: Mapping[str, Float[np.ndarray, "N _"]], num_layers: int) -> dict[str, Float[np.ndarray, "N _"]]:
    """Add ``last`` and ``middle`` to what :func:`pool_layers` returns; both are views of ``all``."""
    width, middle = pooled["all"].shape[1] // num_layers, (num_layers + 1) // 2
    parts = {"last": pooled["all"][:, -width:], "middle": pooled["all"][:, (middle - 1) * width : middle * width]}
    return parts | dict(pooled)


def batched(
    run: Callable[[Sequence[int]], Mapping[str, Tensor]], batches: Sequence[Sequence[int]]
) -> dict[str, Float[np.ndarray, "N _"]]:
    """Return the vectors of all samples, each in the row of its number, as float32.

    Parameters
    ----------
    run
        Vectors of some samples, by name.
    batches
        Numbers of the samples, each once.
    """
    out: dict[str, np.ndarray] = {}
    with torch.inference_mode():
        for rows in batches:
            for name, vectors in run(rows).items():
                if name not in out:
                    out[name] = np.empty((sum(map(len, batches)), vectors.shape[1]), np.float32)
                out[name][rows] = vectors.float().cpu().numpy()
    return out
