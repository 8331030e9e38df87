"""A picture of a model's reconstruction of hidden patches."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dnar2mae.batch import Batch
from dnar2mae.masking import MaskPlan
from dnar2mae.modalities.image.patches import mean_and_deviation, to_pixels
from dnar2mae.modalities.image.source import values_of
from dnar2mae.modalities.image.yardstick import distances
from dnar2mae.models import MaskedModel
from dnar2mae.models.head import ValueHead
from dnar2mae.plots.figure import new_figure, save_figure

RATIO = 0.75
"""Share of the patches that the picture hides."""
NUM_IMAGES = 8
_GREY = 0.5
_GAP_PIXELS = 2


@torch.no_grad()
def reconstruct(
    model: MaskedModel, batch: Batch, masks: MaskPlan, *, normalised: bool
) -> tuple[Float[Tensor, "B T P"], Float[Tensor, "B T P"]]:
    """Hide patches of images on the CPU and return the model's reconstruction.

    Parameters
    ----------
    normalised
        Whether the model predicts patches without their mean and contrast. These are then taken from the visible
        patches, weighted by the inverse square of their distance; never from the hidden ones.

    Returns
    -------
    hidden_grey, restored
        Patches in [0, 1], fp32 on the CPU; visible ones unchanged.
    """
    assert isinstance(model.head, ValueHead), "patches carry values"
    values = values_of(batch)
    batch = model.with_masks(masks, batch.to(next(model.parameters()).device))
    assert batch.masks is not None
    assert batch.masks.predicted is not None
    hidden, _ = model.decoded(masks, batch, batch.masks.predicted.flatten().nonzero().squeeze(1))
    predicted = batch.masks.predicted.cpu()[..., None]
    restored = torch.zeros_like(values)
    restored[predicted.squeeze(-1)] = model.head.predict(hidden).cpu()
    if normalised:
        # rows are all patches, columns the visible ones: a hidden patch has no weight
        weight = distances(model.layout.axes).clamp(min=1.0) ** -2.0 * ~predicted.mT
        weight = weight / weight.sum(-1, keepdim=True).clamp(min=1e-6)
        mean, deviation = (weight @ part for part in mean_and_deviation(values))
        restored = restored * deviation + mean
    grey = torch.where(predicted, torch.tensor(_GREY), values)
    return grey, torch.where(predicted, restored.clamp(0, 1), values)


def draw_reconstructions(
    rows: tuple[Tensor, Tensor, Tensor], shape: tuple[int, int, int], patch: int, note: str, path: Path
) -> None:
    """Write a PNG with originals, their visible patches, and reconstructions, one row below the other.

    ``rows`` are the patches of each, [N, T, P]; ``shape`` is height, width and channels of an image. ``note`` is the
    second line of the title, and ``path`` has no suffix.
    """
    pictures = [to_pixels(row.numpy(), shape, patch) for row in rows]
    margin = ((0, 0), (0, _GAP_PIXELS), (0, _GAP_PIXELS), (0, 0))
    lines = [np.concatenate(list(np.pad(row, margin, constant_values=1.0)), axis=1) for row in pictures]
    canvas = np.concatenate(lines, axis=0)[:-_GAP_PIXELS, :-_GAP_PIXELS]
    figure = new_figure(10.0, 10.0 * canvas.shape[0] / canvas.shape[1] + 0.7)
    axes = figure.subplots()
    axes.imshow(canvas.squeeze(-1) if shape[2] == 1 else canvas, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(f"Held out: original, visible, restored ({RATIO:.0%} of the patches hidden)\n{note}", fontsize=9)
    save_figure(figure, path.with_suffix(".png"))
