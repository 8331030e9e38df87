"""Settings of the theory; no numpy at import time: the command line makes its flags of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dnar2mae.errors import ConfigError, require, require_choices, require_ranges

if TYPE_CHECKING:
    import numpy as np

    from dnar2mae.theory.task import Task

MAX_MASKS = 64
"""Most masks per sample, short of the full expectation."""

Regime = Literal[
    "rows",
    "rows-inv",
    "masked",
    "masked-inv",
    "uncentred",
    "uncentred-inv",
    "share",
    "share-ridge",
    "bits",
    "bits-ridge",
]
"""Loss, inputs, rescaling and penalty under which laws are compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureModel:
    """The features and what is predicted from them."""

    covariance: str = "ar1:0.8"
    """Covariance of the features: isotropic, ar1:CORRELATION, power:EXPONENT (of the eigenvalues),
    spiked:SHARE,RATIO (a share of the directions has RATIO times the variance),
    levels:VALUExSHARE,VALUExSHARE,... (any flat steps), latent:FACTORS,STRENGTH (a factor model), or the
    path of an .npy file with your own matrix."""
    num_features: int = 200
    """Number of features d (a file brings its own). Curves hardly depend on it; simulations approach them as
    1/d."""
    keep_variances: bool = False
    """Keep unequal variances; by default every feature is scaled to variance 1."""
    alignment: float = 0.0
    """The target's energy along an eigenvector goes as its eigenvalue to this power: 0 all alike, 1 leading
    ones."""
    seed: int = 0
    """Seed of random eigenvectors, targets and simulations."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require(self.seed >= 0, "seed", "at least 0", self.seed)

    def matrix(self) -> "np.ndarray":
        """Return the covariance."""
        from dnar2mae.theory.covariance import correlation, parse_covariance

        matrix = parse_covariance(self.covariance, self.num_features, self.seed)
        return matrix if self.keep_variances else correlation(matrix)

    def task(self, noise: float) -> "Task":
        """Return the regression of aligned targets with signal variance 1."""
        from dnar2mae.theory.task import aligned_targets, linear_task

        matrix = self.matrix()
        return linear_task(matrix, aligned_targets(matrix, self.alignment, seed=self.seed), noise)


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """Aspect ratios and signal-to-noise ratios of a map."""

    resolution: int = 60
    """Aspect ratios and signal-to-noise ratios on each side of the map."""
    aspect_range: tuple[float, float] = (0.1, 10.0)
    """Smallest and largest aspect ratio d/n."""
    snr_range: tuple[float, float] = (0.1, 100.0)
    """Smallest and largest signal-to-noise ratio beta'S beta / sigma^2."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name, (low, high) in (("aspect-range", self.aspect_range), ("snr-range", self.snr_range)):
            if not 1e-12 <= low < high <= 1e12:
                raise ConfigError(f"--{name} must be two increasing numbers in 1e-12..1e12, got {low:g} {high:g}")
        require(self.resolution >= 2, "resolution", "at least 2", self.resolution)

    def axes(self) -> "tuple[np.ndarray, np.ndarray]":
        """Return aspect ratios and signal-to-noise ratios, evenly spaced in the logarithm."""
        import numpy as np

        return np.geomspace(*self.aspect_range, self.resolution), np.geomspace(*self.snr_range, self.resolution)


@dataclass(frozen=True, kw_only=True, slots=True)
class Masking:
    """How masked rows are made and how they are fitted."""

    scale: Literal["none", "inv"] = "none"
    """Visible inputs are kept as they are (none) or divided by 1 - p (inv, as in inverted dropout)."""
    loss: Literal["rows", "masked", "masked-mean"] = "rows"
    """rows: every masked row is fitted (a target outside the features). masked: a row counts only when the
    target's own feature is masked, with probability p (masked autoencoding). masked-mean: the same, each
    sample's loss divided by its number of masked features (weight 1/p)."""
    num_masks: int | Literal["inf"] = 1
    """Mask draws per sample, each with its own ratio: 1 to 64, or inf (the full expectation over masks)."""
    ridge: float | None = None
    """Penalty lambda of ``loss / n + lambda |b|^2``, > 0; by default minimum-norm least squares."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_choices(self)
        masks_ok = self.num_masks == "inf" or 1 <= self.num_masks <= MAX_MASKS
        require(masks_ok, "num-masks", f"in 1..{MAX_MASKS}, or inf", self.num_masks)
        require(self.ridge is None or self.ridge > 0, "ridge", "> 0", self.ridge)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How finely a line is computed and simulated."""

    num_ratios: int = 80
    """Ratios on each line, at least 2."""
    num_points: int = 9
    """Simulated ratios on each line; 0 simulates none."""
    repetitions: int = 10
    """Random samples behind each point, at least 2."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_ranges(self, {"at least 2": ["num_ratios", "repetitions"], "at least 0": ["num_points"]})
