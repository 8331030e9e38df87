"""Images: patches of pixels on a grid."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dnar2mae.batch import FiniteSource, Layout, evenly_spaced
from dnar2mae.config import PretrainConfig
from dnar2mae.errors import ConfigError, DataError, RunError, raising
from dnar2mae.masking import Masker, fixed_masks
from dnar2mae.modalities.contract import Modality
from dnar2mae.modalities.image.arrays import open_images
from dnar2mae.modalities.image.config import ImageConfig
from dnar2mae.modalities.image.folder import image_files
from dnar2mae.modalities.image.images import Images, JoinedImages, text
from dnar2mae.modalities.image.patches import (
    GridPlaces,
    PatchProjection,
    normalised,
    normalised_squared_error,
    squared_error,
)
from dnar2mae.modalities.image.reconstruction import NUM_IMAGES, RATIO, draw_reconstructions, reconstruct
from dnar2mae.modalities.image.source import ImageSource, ShuffledSource, repeated, split, values_of
from dnar2mae.modalities.image.yardstick import pixel_yardstick
from dnar2mae.models import MaskedModel
from dnar2mae.models.embedder import ValueEmbedder
from dnar2mae.models.head import ValueHead
from dnar2mae.storage.fingerprint import of_many, of_values
from dnar2mae.storage.safe_files import sha256, write_whole
from dnar2mae.tokenizers import Vocabulary

_SHAPE_FILE = "image.json"


class ImageModality(Modality):
    """Images as patches.

    ``data``, ``model.width``, ``mask``, ``seed`` and ``validation_windows`` of the configuration are used. The run
    directory ``saved`` has the shape of the images that the model was trained on.

    Raises
    ------
    ConfigError
        If the width is no multiple of 4.
    RunError
        If the saved shape cannot be read.
    """

    def __init__(self, config: PretrainConfig[ImageConfig], saved: Path | None = None) -> None:
        self.config = config
        if config.model.width % 4:
            raise ConfigError(f"--model.width must be a multiple of 4 on images, got {config.model.width}")
        self.unit = "normalised squared error" if config.data.normalise_patches else "squared error"
        self._saved_shape = _read_shape(saved / _SHAPE_FILE) if saved and (saved / _SHAPE_FILE).exists() else None

    @cached_property
    def images(self) -> Images:
        """All images, training and held out.

        Raises
        ------
        ConfigError
            If none is named.
        DataError
            If one cannot be used, or the shape is not that of the model's training images.
        """
        data = self.config.data
        if not data.paths:
            raise ConfigError("no images given: name at least one folder, IDX file, .npy or .npz")
        opened = [(path, open_images(Path(path), data)) for path in data.paths]
        images = opened[0][1] if len(opened) == 1 else JoinedImages(opened)
        return self._of_saved_shape(images, ", ".join(data.paths))

    def _of_saved_shape(self, images: Images, name: str) -> Images:
        if self._saved_shape not in (None, images.shape):
            raise DataError(f"{name}: the model takes images of {text(self._saved_shape)}, got {text(images.shape)}")
        return images

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images.

        Raises
        ------
        ConfigError
            If the patches do not divide them.
        """
        shape, patch = self._saved_shape or self.images.shape, self.config.data.patch
        if shape[0] % patch or shape[1] % patch:
            raise ConfigError(
                f"--data.patch must divide height and width of the images, {shape[0]} x {shape[1]}, got {patch}"
            )
        return shape

    @property
    def layout(self) -> Layout:  # type: ignore[override]
        """A grid of patches."""
        height, width, _ = self.shape
        patch = self.config.data.patch
        axes = height // patch, width // patch
        return Layout(axes=axes, tokens=axes[0] * axes[1])

    @property
    def vocabulary(self) -> Vocabulary:  # type: ignore[override]
        """Id 0 for [MASK], and one for the patch at each place; there is no padding and no unknown token."""
        tokens = self.layout.tokens
        return Vocabulary(size=tokens + 1, mask_id=0, pad_id=-1, unk_id=-1, first_real=1, num_real=tokens)

    @cached_property
    def _parts(self) -> tuple[ImageSource, ImageSource]:
        patch = self.config.data.patch
        assert self.shape == self.images.shape
        train, held_out = (
            ImageSource(self.images, i, patch) for i in split(self.images, self.config.data.validation_share)
        )
        return train, held_out

    @cached_property
    def train(self) -> ShuffledSource:  # type: ignore[override]
        """Training images, in a new order each epoch.

        Raises
        ------
        DataError
            If there is only one image.
        """
        data = self.config.data
        return ShuffledSource(self._parts[0], seed=self.config.seed, shift=data.shift, flip=data.flip)

    @property
    def validation(self) -> ImageSource:  # type: ignore[override]
        """Held-out images, drawn by index, the same for every seed.

        Raises
        ------
        DataError
            If there is only one image.
        """
        return self._parts[1]

    def embedder(self) -> ValueEmbedder:
        """Build a projection of pixels, and fixed vectors of places."""
        width, patch = self.config.model.width, self.config.data.patch
        rows, columns = self.layout.axes
        project = PatchProjection(patch * patch * self.shape[2], width)
        return ValueEmbedder(project, GridPlaces((rows, columns), width), width)

    def head(self) -> ValueHead:
        """Build the prediction of pixels."""
        data = self.config.data
        loss = normalised_squared_error if data.normalise_patches else squared_error
        return ValueHead(self.config.model.width, data.patch**2 * self.shape[2], loss)

    def report(self) -> dict[str, Any]:
        """Return the number and shape of images, and how many held-out ones are in the training data as well."""
        train, held_out = self._parts
        return {
            "paths": list(self.config.data.paths),
            "images": text(self.shape),
            "training_images": len(train),
            "held_out_images": len(held_out),
            "held_out_images_also_in_training": repeated(held_out, train),
        }

    def fingerprint(self) -> str:
        """Return a digest of the files; of those in folders, of names, sizes and first bytes."""
        paths = map(Path, self.config.data.paths)
        return of_values([of_many(path, image_files(path)) if path.is_dir() else sha256(path) for path in paths])

    def yardstick(self) -> dict[str, float]:
        """Return the loss of trivial predictions on the samples and masks of the run's final validation."""
        config, (train, held_out) = self.config, self._parts
        samples = evenly_spaced(len(held_out), 4 * config.validation_windows)
        target = normalised if config.data.normalise_patches else lambda values: values
        return pixel_yardstick(train, held_out, samples, fixed_masks(self._plan()), target)

    def _plan(self) -> Any:
        return Masker(self.config.mask, self.vocabulary, self.config.seed, self.config.steps).plan(0)

    def save(self, folder: Path) -> None:
        """Write the shape of the images."""
        height, width, channels = self.shape
        write_whole(folder / _SHAPE_FILE, json.dumps({"height": height, "width": width, "channels": channels}))

    def illustrate(self, model: MaskedModel, path: Path | None) -> None:
        """Draw some held-out images, their visible patches, and the model's reconstruction."""
        is_normalised, patch = self.config.data.normalise_patches, self.config.data.patch
        batch = self.validation.batch(evenly_spaced(len(self.validation), NUM_IMAGES))
        grey, restored = reconstruct(model, batch, fixed_masks(self._plan(), RATIO), normalised=is_normalised)
        note = (
            "mean and contrast of hidden patches are those of visible ones nearby: the model does not predict them"
            if is_normalised
            else "pixels as the model predicts them"
        )
        if path is not None:
            draw_reconstructions((values_of(batch), grey, restored), self.shape, patch, note, path)

    def read(self, path: Path) -> ImageSource:
        """Return the images of a folder or file in their order, not augmented, with labels where they are known.

        Raises
        ------
        DataError
            If they cannot be used, or their shape is not that of the model's training images.
        """
        images = self._of_saved_shape(open_images(path, self.config.data), str(path))
        return ImageSource(images, np.arange(len(images)), self.config.data.patch)

    def raw_features(self, source: FiniteSource) -> dict[str, Any]:
        """Return the pixels."""
        return {"pixels": super().raw_features(source)["values"]}


def _read_shape(path: Path) -> tuple[int, int, int]:
    with raising(RunError, f"{path}: cannot read the shape of the images", OSError, ValueError, KeyError, TypeError):
        content = json.loads(path.read_text())
        return content["height"], content["width"], content["channels"]
