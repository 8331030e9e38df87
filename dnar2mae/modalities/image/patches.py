"""Patches: cutting and joining, their places, their embedding and their loss.

References
----------
.. [1] He et al., "Masked autoencoders are scalable vision learners", CVPR 2022 (normalised patches, fixed positions).
"""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

_EPS = 1e-6  # added to a patch's variance, of pixels in [0, 1]


def to_patches(pixels: Float[np.ndarray, "B H W C"], patch: int) -> Float[np.ndarray, "B T P"]:
    """Cut images into square patches, row by row; a patch's values run over rows, columns, channels."""
    batch, height, width, channels = pixels.shape
    grid = pixels.reshape(batch, height // patch, patch, width // patch, patch, channels)
    return np.ascontiguousarray(grid.swapaxes(2, 3)).reshape(batch, -1, patch * patch * channels)


def to_pixels(patches: Float[np.ndarray, "B T P"], shape: tuple[int, int, int], patch: int) -> np.ndarray:
    """Join the patches of :func:`to_patches` into images, [B, H, W, C]."""
    height, width, channels = shape
    grid = patches.reshape(len(patches), height // patch, width // patch, patch, patch, channels)
    return grid.swapaxes(2, 3).reshape(len(patches), height, width, channels)


def mean_and_deviation(values: Float[Tensor, "*B P"]) -> tuple[Float[Tensor, "*B 1"], Float[Tensor, "*B 1"]]:
    r"""Return the mean of each patch, and :math:`\sqrt{\mathrm{var} + 10^{-6}}` (over its P values, not P - 1)."""
    mean = values.mean(-1, keepdim=True)
    return mean, ((values - mean).square().mean(-1, keepdim=True) + _EPS).sqrt()


def squared_error(predicted: Float[Tensor, "M P"], true: Float[Tensor, "M P"]) -> Float[Tensor, " M"]:
    """Return the mean squared error of the pixels of each patch."""
    return (predicted - true).square().mean(-1)


def normalised_squared_error(predicted: Float[Tensor, "M P"], true: Float[Tensor, "M P"]) -> Float[Tensor, " M"]:
    """Return the mean squared error to the normalised true patches (a patch of one colour is all 0)."""
    return squared_error(predicted, normalised(true))


def normalised(values: Float[Tensor, "*B P"]) -> Float[Tensor, "*B P"]:
    """Subtract each patch's mean and divide by its standard deviation."""
    mean, deviation = mean_and_deviation(values)
    return (values - mean) / deviation


class GridPlaces(nn.Module):
    r"""Fixed positional vectors: sines and cosines of a patch's row (first half of the vector) and column (second).

    .. math:: \sin(i \, \omega_k), \; \cos(i \, \omega_k), \quad \omega_k = 10000^{-4k/D}, \; k < D/4

    ``axes`` are rows and columns of the grid; the width D is a multiple of 4.
    """

    def __init__(self, axes: tuple[int, int], width: int) -> None:
        super().__init__()
        self.axes = axes
        self.register_buffer("table", torch.empty(axes[0] * axes[1], width), persistent=False)
        self.table: Tensor
        self.reset_buffers()

    def reset_buffers(self) -> None:
        """Fill the table on its present device, such as after a model was built on the meta device."""
        width = self.table.shape[1]
        frequency = 10_000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
        row, column = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in self.axes), indexing="ij")
        angles = [torch.outer(coordinate.flatten(), frequency) for coordinate in (row, column)]
        table = torch.cat([f(angle) for angle in angles for f in (torch.sin, torch.cos)], dim=1)
        self.table.copy_(table)

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """Return the vectors of these places."""
        return self.table[tokens.long()]


class PatchProjection(nn.Module):
    """Linear map of a patch's pixels, scaled from [0, 1] to mean 0 and to the size of the positional vectors first."""

    def __init__(self, num_values: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(num_values, width)
        # +-0.5 becomes vectors of rms 0.5 at width 768, larger in narrower models
        self.gain = 50.0 / math.sqrt(num_values)

    def forward(self, values: Float[Tensor, "*B P"]) -> Float[Tensor, "*B D"]:
        """Project the scaled pixels."""
        return self.linear((values - 0.5) * self.gain)
