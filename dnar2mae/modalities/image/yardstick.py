"""Held-out loss of trivial models on the patches that the validation masks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dnar2mae.batch import Batch, batches_of, evenly_spaced
from dnar2mae.masking import MaskPlan, corrupt
from dnar2mae.modalities.image.patches import mean_and_deviation, to_pixels
from dnar2mae.modalities.image.source import ImageSource, values_of
from dnar2mae.models import MaskedModel
from dnar2mae.models.head import ValueHead
from dnar2mae.plots.figure import new_figure, save_figure

_CHUNK = 512
_MOST = 10_000  # images of which the mean is taken, at most
RATIO = 0.75
"""Share of the patches that the picture hides."""
NUM_IMAGES = 8
_GREY = 0.5
_GAP_PIXELS = 2


def pixel_yardstick(
    train: ImageSource, held_out: ImageSource, samples: np.ndarray, masks: MaskPlan, target: Callable[[Tensor], Tensor]
) -> dict[str, float]:
    """Return the mean squared error per pixel of predictions that need no learning.

    Parameters
    ----------
    train
        Images of which the mean is taken, not augmented.
    held_out, samples, masks
        The patches that these masks hide in these samples are scored.
    target
        Turns patches into the target of the loss.

    Returns
    -------
    dict
        ``mean image``: the training mean of the target at each place. ``patch mean``: each patch flat at its own
        mean, which is 0 for a normalised target, and otherwise takes knowledge of the hidden patch. ``nearest patch``:
        the nearest visible patch of the image, copied.
    """
    mean = _mean_target(train, target)
    totals, count = dict.fromkeys(("mean image", "patch mean", "nearest patch"), 0.0), 0
    axes = tuple(side // held_out.patch for side in held_out.images.shape[:2])
    for batch in batches_of(held_out, samples, _CHUNK):
        hidden = hidden_patches(masks, batch)
        true = target(values_of(batch))
        copied = torch.take_along_dim(true, nearest_visible(hidden, axes)[..., None], 1)
        flat = true.mean(-1, keepdim=True)
        for name, predicted in zip(totals, (mean, flat, copied), strict=True):
            totals[name] += (predicted - true).square().mean(-1)[hidden].double().sum().item()
        count += int(hidden.sum())
    return {name: total / count for name, total in totals.items()} if count else {}


def hidden_patches(masks: MaskPlan, batch: Batch) -> Bool[Tensor, "B T"]:
    """Return which patches a plan hides."""
    return corrupt(masks, batch.tokens, batch.maskable, batch.sample_ids)[1]


def distances(axes: tuple[int, ...]) -> Float[Tensor, "T T"]:
    """Return the distances between the places of a grid, in patches."""
    coordinates = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float32) for n in axes))
    return torch.cdist(coordinates, coordinates)


def nearest_visible(hidden: Bool[Tensor, "B T"], axes: tuple[int, ...]) -> Tensor:
    """Return the index of each patch's nearest visible patch (the first of several; any if none is visible), [B, T]."""
    return distances(axes).expand(len(hidden), -1, -1).masked_fill(hidden[:, None, :], torch.inf).argmin(-1)


def _mean_target(train: ImageSource, target: Callable[[Tensor], Tensor]) -> Float[Tensor, "T P"]:
    total: Tensor | None = None
    samples = evenly_spaced(len(train), _MOST)
    for batch in batches_of(train, samples, _CHUNK):
        part = target(values_of(batch)).double().sum(0)
        total = part if total is None else total + part
    assert total is not None, "a split has training images"
    return (total / len(samples)).float()


@torch.no_grad()
def reconstruct(
    model: MaskedModel, batch: Batch, masks: MaskPlan, *, normalised: bool
) -> tuple[Float[Tensor, "B T P"], Float[Tensor, "B T P"]]:
    """Hide patches and return the model's reconstruction.

    Parameters
    ----------
    model
        The model.
    batch
        Images, on the CPU.
    masks
        The masks that hide patches.
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
    hidden, predicted = model.decoded(masks, batch.to(next(model.parameters()).device))
    restored, predicted = model.head.predict(hidden).cpu(), predicted.cpu()[..., None]
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

    Parameters
    ----------
    rows
        Patches of each, [N, T, P].
    shape, patch
        Height, width and channels of an image; side of a patch.
    note
        Second line of the title.
    path
        Without suffix.
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
