"""Images and labels in one file: IDX (MNIST's format), .npy and .npz."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from dnar2mae.errors import DataError, raising
from dnar2mae.modalities.image.config import ImageConfig
from dnar2mae.modalities.image.folder import read_folder
from dnar2mae.modalities.image.images import ArrayImages, Images
from dnar2mae.storage.compressed import READ_ERRORS, open_maybe_gzip
from dnar2mae.storage.remote import local_path

_IDX_UINT8 = 8  # the format's code of unsigned bytes


def open_images(path: Path, config: ImageConfig) -> Images:
    """Open a folder or a file of images.

    Raises
    ------
    DataError
        If it does not exist, has none of these formats, or is damaged; or if labels and images differ in number.
    """
    path = local_path(path)
    if path.is_dir():
        images = read_folder(path, config)
    elif not path.is_file():
        raise DataError(f"{path}: no such file or folder")
    elif path.suffix in (".npy", ".npz"):
        images = _read_numpy(path, config)
    else:
        images = _read_idx_pair(path, config)
    if config.size and images.shape[:2] != (config.size, config.size):
        height, width, _ = images.shape
        raise DataError(f"{path}: --data.size scales folders only: it must be that of the array, {height} x {width}")
    return images


def _read_numpy(path: Path, config: ImageConfig) -> Images:
    unreadable = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)
    with raising(DataError, f"{path}: not a {path.suffix} file of plain numbers", *unreadable):
        if path.suffix == ".npy":
            return ArrayImages(str(path), np.load(path, mmap_mode="r"), config.channels)
        with np.load(path) as file:
            names = file.files
            key = names[0] if len(names) == 1 else config.images_key
            if key not in names:
                raise DataError(f"{path}: --data.images-key must be one of {', '.join(names)}, got {key}")
            images = ArrayImages(f"{path}: {key}", file[key], config.channels)
            if config.labels_key in names and len(names) > 1:
                _attach_labels(images, file[config.labels_key], str(path), f"{path}: {config.labels_key}")
            return images


def _read_idx_pair(path: Path, config: ImageConfig) -> Images:
    images = ArrayImages(str(path), read_idx(path), config.channels)
    labels = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    if labels != path and labels.is_file():
        _attach_labels(images, read_idx(labels), str(path), str(labels))
    return images


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of unsigned bytes, plain or gzipped.

    Raises
    ------
    DataError
        If it is not one, or shorter or longer than its header says.
    """
    with raising(DataError, f"{path}: damaged gzip file", *READ_ERRORS):
        with open_maybe_gzip(path) as file:
            content = file.read()
    if content[:3] != bytes((0, 0, _IDX_UINT8)) or len(content) < 4 or len(content) < 4 + 4 * content[3]:
        raise DataError(f"{path}: neither a folder, nor .npy or .npz, nor an IDX file of unsigned bytes")
    shape = np.frombuffer(content, ">u4", content[3], 4).astype(int)
    start = 4 + 4 * content[3]
    if len(content) - start != shape.prod():
        raise DataError(f"{path}: its header says {shape.prod()} bytes of data, got {len(content) - start}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _attach_labels(images: Images, labels: np.ndarray, images_name: str, labels_name: str) -> None:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (len(images),):
        raise DataError(
            f"{labels_name}: there must be one label an image, {len(images)} for {images_name}, "
            f"got {' x '.join(map(str, labels.shape))}"
        )
    names, numbers = np.unique(labels, return_inverse=True)
    images.labels, images.classes = numbers.astype(np.int64), tuple(str(name) for name in names)
