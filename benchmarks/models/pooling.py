"""From a vector a token to vectors of a sample: mean and maximum over layers and over parts of the input."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from dnar2mae.models.pooling import mean_and_max, mean_and_max_of_parts

VECTOR = "vector"
"""The vector that ``embed`` gives; of sequences the mean over the tokens of the last layer."""
MAX_LAYERS = 6
"""Layers of ``all``, evenly spaced up to the last one: twelve of width 768 would be 18,432 columns."""
_BINS = {"bins": 4, "bins8": 8}
"""Equal parts of a sequence."""
_GRID_BINS = (3, 3)  # equal parts of a grid


def pooled_layers(depth: int) -> list[int]:
    """Return the layers that are pooled, ascending: the last is ``depth``."""
    count = min(depth, MAX_LAYERS)
    return [-(-depth * (i + 1) // count) for i in range(count)]


def pool_layers(
    layers: Sequence[Tensor], counts: Bool[Tensor, "B T"], axes: tuple[int, ...] = (0,)
) -> dict[str, Float[Tensor, "B _"]]:
    """Return mean and maximum over tokens of all layers side by side and, of the last one, by position.

    Parameters
    ----------
    layers
        ``[B, T, D]`` each, or ``[B, D]`` of a network that has one vector a sample, which stays as it is.
    counts
        Tokens that count, one or more in each sample.
    axes
        As in :class:`dnar2mae.batch.Layout`: tokens in a row have four and eight parts, those of a
        grid 3 x 3, of a set none.
    """
    layers = [hidden.float() for hidden in layers]
    if layers[-1].ndim == 2:
        return {"all": torch.cat(layers, 1)}
    out = {"all": torch.cat([mean_and_max(hidden, counts) for hidden in layers], 1)}
    if len(axes) == 2:
        grid = layers[-1].unflatten(1, axes).movedim(-1, 1)
        parts = F.adaptive_avg_pool2d(grid, _GRID_BINS), F.adaptive_max_pool2d(grid, _GRID_BINS)
        out["bins"] = torch.cat([part.flatten(1) for part in parts], 1)
    elif len(axes) == 1:
        out |= {name: mean_and_max_of_parts(layers[-1], counts, number) for name, number in _BINS.items()}
    return out


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
