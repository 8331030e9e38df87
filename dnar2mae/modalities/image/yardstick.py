"""Held-out loss of trivial models on the patches that the validation masks."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dnar2mae.batch import Batch, batches_of, evenly_spaced
from dnar2mae.masking import MaskPlan, corrupt
from dnar2mae.modalities.image.source import ImageSource, values_of

_CHUNK = 512
_MOST = 10_000  # images of which the mean is taken, at most


def pixel_yardstick(
    train: ImageSource, held_out: ImageSource, samples: np.ndarray, masks: MaskPlan, target: Callable[[Tensor], Tensor]
) -> dict[str, float]:
    """Return the mean squared error per pixel of predictions that need no learning, at the patches that the masks hide.

    Parameters
    ----------
    train
        Images of which the mean is taken, not augmented.
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
    samples = evenly_spaced(len(train), _MOST)
    parts = (target(values_of(batch)).double().sum(0) for batch in batches_of(train, samples, _CHUNK))
    return (sum(parts, torch.zeros(())) / len(samples)).float()
