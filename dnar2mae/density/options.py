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
    both_strands: bool = False
    """Predict each base by the mean of the probabilities on both strands: fewer bits, at twice the time; nothing
    changes where the model shares weights between them. A model of single bases only."""
    copies: bool = False
    """Take into account what copies in the training DNA say of hidden bases. Reads the genome that was trained on; a
    window of it is its own copy."""
    seed: int = 0
    """Seed of random orders."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_choices(self)
        require_ranges(self, {"at least 0": ["num_windows", "bound", "seed"]})
        require(self.order != "none" or self.bound > 0, "bound", "at least 1 with --order none", self.bound)
        if self.bed and not self.genome:
            raise ConfigError(f"--bed needs --genome, the sequence file that it refers to, got {self.bed} alone")


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerateOptions:
    """What is drawn, and how."""

    num: int = 100
    """Sequences to draw; not with --bed or --fill-n, where each region is one."""
    length_bp: int = 500
    """Length of each in bases; of text, and of a run with --tokenizer.file, in tokens. One longer than the training
    windows is drawn by windows that overlap by half."""
    prompt: str | None = None
    """Letters that each sequence begins with; N in it is drawn, lower case is the same as upper case."""
    bed: Path | None = None
    """BED file: redraw these regions of --genome, each with what lies on both sides of it in view."""
    genome: Path | None = None
    """Sequence file that --bed refers to."""
    mask: float = 1.0
    """--bed: share of a region's bases that are drawn anew, in (0, 1]; the others stay."""
    fill_n: Path | None = None
    """Sequence file whose runs of N are filled, all of it written; letters that stand for several bases (R, Y) count as
    N."""
    longest_bp: int = 10_000
    """--fill-n: longer runs of N stay."""
    steps: int = 64
    """Forward passes for a window: as many bases each as it takes. The fewer at a time, the better; as many steps as
    bases draw exactly from the model."""
    temperature: float = 1.0
    """Below 1 likely bases become likelier; 0 takes the likeliest."""
    seed: int = 0
    """Seed of all draws: the same seed draws the same sequences, in whatever batches."""

    def __post_init__(self) -> None:
        """Check ranges, and that one thing is asked for."""
        counts = {"at least 1": ["num", "length_bp", "longest_bp", "steps"], "at least 0": ["temperature", "seed"]}
        require_ranges(self, counts)
        require(0 < self.mask <= 1, "mask", "in (0, 1]", self.mask)
        asked = [name for name in ("prompt", "bed", "fill_n") if getattr(self, name) is not None]
        if len(asked) > 1:
            flags = " and ".join(f"--{name.replace('_', '-')}" for name in asked)
            raise ConfigError(f"give one of --prompt, --bed and --fill-n, got {flags}")
        if (self.bed is None) != (self.genome is None):
            raise ConfigError("--bed and --genome, the sequence file that it refers to, go together")
