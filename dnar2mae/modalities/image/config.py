"""Settings of images; no torch here."""

from dataclasses import dataclass

from dnar2mae.config import Positional, Settings
from dnar2mae.errors import require, require_ranges


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageConfig(Settings):
    """Settings of reading images and cutting them into patches."""

    paths: Positional[tuple[str, ...]] = ()
    """Folders of images (a subfolder a class), IDX files (plain or .gz), .npy or .npz arrays [N,H,W] or [N,H,W,C]."""
    size: int | None = None
    """Folders: scale the shorter side to this many pixels and cut out the middle square; by default sizes are kept,
    and must then be the same for all."""
    channels: int | None = None
    """1 (grey, by luma) or 3 (RGB; grey ones repeated); by default as the images are, which must then agree."""
    patch: int = 4
    """Side of a patch in pixels; must divide height and width."""
    normalise_patches: bool = True
    """Predict each patch with its own mean taken off and divided by its own standard deviation, as MAE does."""
    shift: int = 0
    """Augmentation: move each image by up to this many pixels to any side, its edge repeated."""
    flip: bool = False
    """Augmentation: show each image or its mirror image (left and right), drawn at random."""
    validation_share: float = 0.1
    """Share of the images held out, drawn image by image (at least one), in (0, 0.5]."""
    images_key: str = "images"
    """.npz: name of the images; a file's only array may have any name."""
    labels_key: str = "labels"
    """.npz: name of the labels, which only probes use; may be absent."""
    memory_mb: int = 1024
    """Folders: decoded images are kept in memory up to this size; past it they are decoded whenever they are used."""

    def __post_init__(self) -> None:
        """Check ranges."""
        ranges = {"at least 1": ["size", "patch"], "at least 0": ["shift", "memory_mb"]}
        require_ranges(self, ranges | {"in (0, 0.5]": ["validation_share"]}, "data.")
        require(self.channels in (None, 1, 3), "data.channels", "1 or 3", self.channels)
