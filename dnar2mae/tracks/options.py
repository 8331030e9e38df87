"""Options of tracks; no torch here, so that ``--help`` stays quick."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from dnar2mae.errors import ConfigError, require_ranges

What = Literal["entropy", "reference-probability", "constraint"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackOptions:
    """Which bases, and what is computed of them."""

    genome: Path
    """Sequence file."""
    bed: Path | None = None
    """BED file: only its regions. Windows go beyond them, so that a base has the same value as without it."""
    what: tuple[What, ...] = ("constraint",)
    """entropy: of the predicted distribution, 0 to 2 bits. reference-probability: that of the base that is there.
    constraint: bits by which that base is likelier than the others, mean over the three of log2 p(base) / p(other)."""
    pattern_ratio: float = 0.125
    """Share of the bases that are masked at once: every n-th one, n = 1 / ratio rounded (0.125: every 8th), in n passes
    that mask each base once; powers of two are quick where convolutions are dilated by them. 0 masks one base at a
    time, in as many passes as a window has bases."""
    overlap_share: float = 0.25
    """Share of a window that it has in common with the next; each base has the value of the window in whose middle it
    lies most."""
    both_strands: bool = True
    """Mean of the probabilities on both strands; one strand takes half the time. Where the model shares weights between
    them both are the same, and one is computed."""
    overwrite: bool = False
    """Replace files that exist, and what an interrupted call with other settings has left."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_ranges(self, {"in [0, 0.5]": ["pattern_ratio"], "in [0, 0.9]": ["overlap_share"]})
        if not self.what or len(set(self.what)) < len(self.what) or not set(self.what) <= set(get_args(What)):
            raise ConfigError(f"--what must be of {', '.join(get_args(What))}, each once, got {' '.join(self.what)}")
