"""Folders of image files, a subfolder a class."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from dnar2mae.errors import DataError, needing, raising
from dnar2mae.modalities.image.config import ImageConfig
from dnar2mae.modalities.image.images import ArrayImages, Images, text

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
_GREY = {"1", "L", "LA"}
_COLOUR = {"P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV"}


def read_folder(folder: Path, config: ImageConfig) -> Images:
    """Open a folder of image files.

    Files directly in the folder have no class; else every subfolder is one, with the files anywhere below it. Classes
    are sorted by name, files by path. Transparency is dropped, palettes are resolved, of an animation the first
    frame is taken.

    Raises
    ------
    DataError
        If there is no image, the layout is neither of the two, a file cannot be read, or sizes or channels differ.
    ConfigError
        If Pillow is not installed.
    """
    files = image_files(folder)
    if not files:
        raise DataError(f"{folder}: no image in this folder (files named {', '.join(sorted(_SUFFIXES))})")
    parents = [path.relative_to(folder).parts[:-1] for path in files]
    if not all(parents) and any(parents):
        raise DataError(f"{folder}: images must all be in subfolders, one a class, or all in the folder itself")
    on_disk = _ImageFiles(files, config)
    images: Images = on_disk
    if len(files) * math.prod(on_disk.shape) <= config.memory_mb * 10**6:
        images = ArrayImages(str(folder), on_disk.decoded(np.arange(len(files))))
    if all(parents):
        images.classes = tuple(sorted({parts[0] for parts in parents}))
        number = {name: label for label, name in enumerate(images.classes)}
        images.labels = np.array([number[parts[0]] for parts in parents], np.int64)
    return images


def image_files(folder: Path) -> list[Path]:
    """Return the files whose suffix is that of an image, sorted by path."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())


class _ImageFiles(Images):
    """Image files that are decoded at each use; their headers are checked when they are opened."""

    def __init__(self, files: list[Path], config: ImageConfig) -> None:
        self.files, self.size = files, config.size
        first: tuple[int, int, int] | None = None
        for path in files:
            shape = self._header(path, config.channels)
            first = first or shape
            if shape != first:
                flag = "--data.channels" if shape[:2] == first[:2] else "--data.size"
                raise DataError(
                    f"{path}: images must be of one size and kind, got {text(shape)} after {text(first)} "
                    f"({files[0].name}); {flag} makes them alike"
                )
        assert first is not None
        self.shape = first

    def _header(self, path: Path, channels: int | None) -> tuple[int, int, int]:
        with _opened(path) as image:
            width, height = (self.size, self.size) if self.size else image.size
            if image.mode not in _GREY | _COLOUR:
                raise DataError(f"{path}: pixels must have 8 bits a channel, got Pillow mode {image.mode}")
            return height, width, channels or (1 if image.mode in _GREY else 3)

    def __len__(self) -> int:
        """Count the files."""
        return len(self.files)

    def decoded(self, index: Int[np.ndarray, " B"]) -> UInt8[np.ndarray, "B H W C"]:
        """Return the pixels of some files, uint8."""
        out = np.empty((len(index), *self.shape), np.uint8)
        for row, number in enumerate(index):
            out[row] = self._decode(self.files[number]).reshape(self.shape)
        return out

    def pixels(self, index: Int[np.ndarray, " B"]) -> Float[np.ndarray, "B H W C"]:
        """Return the pixels of some files, in [0, 1]."""
        return self.decoded(index).astype(np.float32) / np.float32(255)

    def _decode(self, path: Path) -> np.ndarray:
        with _opened(path) as image:
            with raising(DataError, f"{path}: cannot be decoded", OSError, SyntaxError, ValueError):
                picture = image.convert("L" if self.shape[2] == 1 else "RGB")
        if self.size:
            picture = _central_square(picture, self.size)
        return np.asarray(picture)


def _central_square(picture: Any, size: int) -> Any:
    """Scale the shorter side to ``size`` and cut out the middle square."""
    from PIL import Image

    scale = size / min(picture.size)
    width, height = (max(round(side * scale), size) for side in picture.size)
    left, top = (width - size) // 2, (height - size) // 2
    return picture.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))


def _opened(path: Path) -> Any:
    with needing("--modality image with a folder", "Pillow", "dnar2mae[images]"):
        from PIL import Image
    unreadable = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
    with raising(DataError, f"{path}: not an image that Pillow can read", *unreadable):
        return Image.open(path)
