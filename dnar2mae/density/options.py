"""Options of likelihoods and of drawing; no torch here, so that ``--help`` stays quick."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dnar2mae.errors import ConfigError, require, require_choices, require_ranges


@dataclass(frozen=True, kw_only=True, slots=True)
class LikelihoodOptions:
    """Which bases, and what is computed of them."""

    order: Literal["left-to-right", "random", "none"] = "left-to-right"
    """In which order bases become known; none computes only --bound."""
    genome: Path | None = None
    """Sequence file to score; by default held-out windows of the run."""
    bed: Path | None = None
    """BED file: only its regions of --genome, cut into windows; each window is scored by itself."""
    num_windows: int = 16
    """Windows to score, evenly spaced among all; 0 for all. The time grows with their number times their length."""
    bound: int = 0
    """Antithetic pairs of masks of each window for the bound; 32 are 64 ratios. 0 leaves it out."""
    seed: int = 0
    """Seed of random orders."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_choices(self)
        require_ranges(self, {"at least 0": ["num_windows", "bound"]})
        require(self.order != "none" or self.bound > 0, "bound", "at least 1 with --order none", self.bound)
        if self.bed and not self.genome:
            raise ConfigError(f"--bed needs --genome, the sequence file that it refers to, got {self.bed} alone")
