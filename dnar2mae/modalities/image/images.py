"""Images of one size by index, in memory or on disk."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from dnar2mae.errors import DataError

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's mode L
_CHUNK = 1024


class Images(ABC):
    """Indexed images; picklable."""

    shape: tuple[int, int, int]
    """Height, width, channels."""
    labels: Int[np.ndarray, " N"] | None = None
    """Class of each image; None where they are not known."""
    classes: tuple[str, ...] | None = None
    """Names of the classes, sorted; a label is an index into them."""

    @abstractmethod
    def __len__(self) -> int:
        """Count the images."""

    @abstractmethod
    def pixels(self, index: Int[np.ndarray, " B"]) -> Float[np.ndarray, "B H W C"]:
        """Return the pixels of some images, float32 in [0, 1]."""


class ArrayImages(Images):
    """Images of one array, in memory or memory-mapped; messages begin with ``name``.

    The array is [N, H, W] or [N, H, W, C], uint8 or floating point in [0, 1]; ``channels`` is 1 or 3, None for its own.

    Raises
    ------
    DataError
        If the shape or type is another, there is no image, or a number is NaN or out of range.
    """

    def __init__(self, name: str, array: np.ndarray, channels: int | None = None) -> None:
        array = array[..., None] if array.ndim == 3 else array
        if array.ndim != 4 or array.shape[3] not in (1, 3):
            shape = list(array.shape)
            raise DataError(f"{name}: images must be [N,H,W] or [N,H,W,C] with 1 or 3 channels, got {shape}")
        if array.dtype != np.uint8 and array.dtype.kind != "f":
            raise DataError(f"{name}: pixels must be uint8 or floating point, got {array.dtype}")
        if not len(array) or 0 in array.shape:
            raise DataError(f"{name}: there must be at least one image of at least one pixel, got {list(array.shape)}")
        self.array = array
        self.shape = (array.shape[1], array.shape[2], channels or array.shape[3])
        if array.dtype != np.uint8:  # bytes are in range
            self._check_range(name)

    def _check_range(self, name: str) -> None:
        for start in range(0, len(self.array), _CHUNK):
            part = self.array[start : start + _CHUNK]
            bad = ~((part >= 0) & (part <= 1)).all(axis=(1, 2, 3))
            if bad.any():
                first = int(bad.argmax())
                values = part[first]
                got = "NaN" if np.isnan(values).any() else f"{values.min():g} to {values.max():g}"
                raise DataError(f"{name}: image {start + first}: floating-point pixels must be in [0, 1], got {got}")

    def __len__(self) -> int:
        """Count the images."""
        return len(self.array)

    def pixels(self, index: Int[np.ndarray, " B"]) -> Float[np.ndarray, "B H W C"]:
        """Return the pixels of some images."""
        raw = np.asarray(self.array[index])
        pixels = raw.astype(np.float32) / np.float32(255) if raw.dtype == np.uint8 else raw.astype(np.float32)
        if pixels.shape[3] == self.shape[2]:
            return pixels
        return (pixels @ _LUMA)[..., None] if self.shape[2] == 1 else pixels.repeat(3, axis=3)

    def __getstate__(self) -> dict[str, Any]:
        """Replace a memory-mapped array by its path: another process opens it again instead of getting a copy."""
        state = dict(self.__dict__)
        if isinstance(self.array, np.memmap):
            state["array"] = Path(str(self.array.filename))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Undo :meth:`__getstate__`."""
        self.__dict__.update(state)
        if isinstance(self.array, Path):
            array = np.load(self.array, mmap_mode="r")
            self.array = array[..., None] if array.ndim == 3 else array


class JoinedImages(Images):
    """Several sets of images of one size, each with its name, one after the other; without labels.

    Raises
    ------
    DataError
        If sizes or channels differ.
    """

    def __init__(self, parts: Sequence[tuple[str, Images]]) -> None:
        name, first = parts[0]
        self.shape = first.shape
        for other, images in parts[1:]:
            if images.shape != self.shape:
                raise DataError(
                    f"{other}: images must be {text(self.shape)} as those of {name}, got {text(images.shape)}"
                )
        self.parts = [images for _, images in parts]
        self.ends = np.cumsum([len(images) for images in self.parts])

    def __len__(self) -> int:
        """Count the images."""
        return int(self.ends[-1])

    def pixels(self, index: Int[np.ndarray, " B"]) -> Float[np.ndarray, "B H W C"]:
        """Return the pixels of some images."""
        out = np.empty((len(index), *self.shape), np.float32)
        which = np.searchsorted(self.ends, index, side="right")
        for number in np.unique(which):
            here = which == number
            start = self.ends[number - 1] if number else 0
            out[here] = self.parts[number].pixels(index[here] - start)
        return out


def text(shape: tuple[int, int, int]) -> str:
    """Return a shape in words."""
    height, width, channels = shape
    return f"{height} x {width} with {channels} channel{'' if channels == 1 else 's'}"
