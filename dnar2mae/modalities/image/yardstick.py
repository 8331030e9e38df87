"""Held-out loss of trivial models, on the very patches that the validation masks."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dnar2mae.batch import Batch, evenly_spaced
from dnar2mae.masking import MaskPlan, corrupt
from dnar2mae.modalities.image.source import ImageSource, values_of

_CHUNK = 512
_MOST = 10_000  # images that the mean is taken of


def pixel_yardstick(
    train: ImageSource, held_out: ImageSource, samples: np.ndarray, masks: MaskPlan, target: Callable[[Tensor], Tensor]
) -> dict[str, float]:
    """Mean squared error per pixel of predictions that need no learning.

    Parameters
    ----------
    train
        What the mean image is taken of, not augmented.
    held_out, samples, masks
        What is scored: the patches that these masks hide in these samples.
    target
        Turns patches into what the loss compares predictions with.

    Returns
    -------
    dict
        ``mean image``: the training mean of the target at each place. ``patch mean``: each patch flat at its own
        mean; of a target without means that is 0, else it is known only to who sees the patch. ``nearest patch``:
        the nearest visible patch of the image, copied.
    """
    mean = _mean_target(train, target)
    totals, count = dict.fromkeys(("mean image", "patch mean", "nearest patch"), 0.0), 0
    axes = tuple(side // held_out.patch for side in held_out.images.shape[:2])
    for start in range(0, len(samples), _CHUNK):
        batch = held_out.batch(samples[start : start + _CHUNK])
        hidden = hidden_patches(masks, batch)
        true = target(values_of(batch))
        copied = torch.take_along_dim(true, nearest_visible(hidden, axes)[..., None], 1)
        flat = true.mean(-1, keepdim=True)
        for name, predicted in zip(totals, (mean, flat, copied), strict=True):
            totals[name] += (predicted - true).square().mean(-1)[hidden].double().sum().item()
        count += int(hidden.sum())
    return {name: total / count for name, total in totals.items()} if count else {}


def hidden_patches(masks: MaskPlan, batch: Batch) -> Bool[Tensor, "B T"]:
    """Which patches a plan hides."""
    return corrupt(masks, batch.tokens, batch.maskable, batch.sample_ids)[1]


def distances(axes: tuple[int, ...]) -> Float[Tensor, "T T"]:
    """Distances between the places of a grid, in patches."""
    place = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float32) for n in axes))
    return torch.cdist(place, place)


def nearest_visible(hidden: Bool[Tensor, "B T"], axes: tuple[int, ...]) -> Tensor:
    """Place of the nearest visible patch of each patch (the first of several; any where none is visible), [B, T]."""
    return distances(axes).expand(len(hidden), -1, -1).masked_fill(hidden[:, None, :], torch.inf).argmin(-1)


def _mean_target(train: ImageSource, target: Callable[[Tensor], Tensor]) -> Float[Tensor, "T P"]:
    total: Tensor | None = None
    samples = evenly_spaced(len(train), _MOST)
    for start in range(0, len(samples), _CHUNK):
        part = target(values_of(train.batch(samples[start : start + _CHUNK]))).double().sum(0)
        total = part if total is None else total + part
    assert total is not None, "a split has training images"
    return (total / len(samples)).float()
