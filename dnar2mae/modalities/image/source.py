"""Images by sample index: shuffled and augmented for training, in their own order otherwise."""

import hashlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from dnar2mae.batch import Batch
from dnar2mae.errors import DataError
from dnar2mae.modalities.image.images import ArrayImages, Images, JoinedImages
from dnar2mae.modalities.image.patches import to_patches
from dnar2mae.random import Stream, draw, scale

_CHUNK = 512


class ImageSource:
    """Some of the images, by ``index`` and in its order, cut into patches of ``patch`` pixels a side."""

    def __init__(self, images: Images, index: Int[np.ndarray, " N"], patch: int) -> None:
        self.images, self.index, self.patch = images, index, patch
        self.labels = None if images.labels is None else images.labels[index]
        self.classes = images.classes

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.index)

    def batch(self, sample_ids: Int[np.ndarray, " B"]) -> Batch:
        """Return the patches of these samples."""
        return _batch(self.images.pixels(self.index[sample_ids]), sample_ids, self.patch)


class ShuffledSource:
    """Epochs of images, each in a new order, shifted and mirrored by draws from the sample's index.

    ``shift`` and ``flip`` are as in :class:`dnar2mae.modalities.image.config.ImageConfig`.
    """

    def __init__(self, source: ImageSource, *, seed: int, shift: int = 0, flip: bool = False) -> None:
        self.source, self.seed, self.shift, self.flip = source, seed, shift, flip
        self._last: tuple[int, np.ndarray] | None = None

    def batch(self, sample_ids: Int[np.ndarray, " B"]) -> Batch:
        """Return the patches of these samples; sample i is image ``i mod n`` of the order of epoch ``i // n``."""
        epochs, position = np.divmod(sample_ids, len(self.source))
        chosen = np.empty_like(sample_ids)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            chosen[here] = self._order(int(epoch))[position[here]]
        pixels = self.source.images.pixels(chosen)
        return _batch(self._augmented(pixels, sample_ids), sample_ids, self.source.patch)

    def _order(self, epoch: int) -> np.ndarray:
        if self._last is None or self._last[0] != epoch:
            word, *_ = draw(self.seed, Stream.WINDOW, epoch, np.arange(len(self.source)))
            self._last = epoch, self.source.index[np.argsort(word, kind="stable")]
        return self._last[1]

    def _augmented(self, pixels: Float[np.ndarray, "B H W C"], ids: np.ndarray) -> Float[np.ndarray, "B H W C"]:
        if not (self.shift or self.flip):
            return pixels
        down, right, mirror, _ = draw(self.seed, Stream.AUGMENT, ids)
        rows, columns = (
            (scale(word, 2 * self.shift + 1) - self.shift)[:, None] + np.arange(length)
            for word, length in zip((down, right), pixels.shape[1:3], strict=True)
        )
        if self.flip:
            columns = np.where((mirror & 1)[:, None] == 1, columns[:, ::-1], columns)
        rows, columns = rows.clip(0, pixels.shape[1] - 1), columns.clip(0, pixels.shape[2] - 1)
        return pixels[np.arange(len(ids))[:, None, None], rows[:, :, None], columns[:, None, :]]


def split(images: Images, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the images to train on, and of those held out: a draw that is the same for every seed.

    Raises
    ------
    DataError
        If there is only one image.
    """
    if len(images) < 2:
        raise DataError("there must be at least 2 images, one to train on and one to hold out, got 1")
    word, *_ = draw(0, Stream.SPLIT, np.arange(len(images)))
    order = np.argsort(word, kind="stable")
    count = max(round(share * len(images)), 1)
    return np.sort(order[count:]), np.sort(order[:count])


def repeated(some: ImageSource, others: ImageSource) -> int | None:
    """Return how many of some images equal one of the others in every pixel; None if they are not in memory."""
    if not isinstance(some.images, ArrayImages | JoinedImages):
        return None
    seen = set(_digests(others))
    return sum(digest in seen for digest in _digests(some))


def _digests(source: ImageSource) -> Iterator[bytes]:
    for start in range(0, len(source), _CHUNK):
        for pixels in source.images.pixels(source.index[start : start + _CHUNK]):
            yield hashlib.blake2b(pixels.tobytes(), digest_size=16).digest()


def values_of(batch: Batch) -> Float[Tensor, "B T P"]:
    """Return the pixels of a batch's patches."""
    assert batch.values is not None, "patches carry values"
    return batch.values


def _batch(pixels: Float[np.ndarray, "B H W C"], sample_ids: np.ndarray, patch: int) -> Batch:
    values = to_patches(pixels, patch)
    tokens = np.tile(np.arange(values.shape[1], dtype=np.int32), (len(values), 1))
    maskable = np.ones(tokens.shape, bool)
    return Batch.of_arrays(tokens=tokens, maskable=maskable, sample_ids=sample_ids, values=values)
