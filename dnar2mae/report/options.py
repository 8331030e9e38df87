"""Options of a page; no torch here, so that ``--help`` stays quick."""

from dataclasses import dataclass
from pathlib import Path

from dnar2mae.errors import ConfigError, require_ranges


@dataclass(frozen=True, kw_only=True, slots=True)
class PageOptions:
    """What of a page is computed, and how much of it."""

    genes: Path | None = None
    """GFF3, GTF, BED, GenBank or EMBL file of the run's genome: adds the variant control, the constraint of a region
    with its genes, and the embedding map."""
    genome: Path | None = None
    """Sequence file that --genes refers to; by default the run's, of several the first."""
    matrices: Path | None = None
    """Weight matrices in MEME's minimal format: the variant control is of their sites, and shows its ceiling."""
    pairs: int = 300
    """Most pairs of each variant control."""
    tiles: int = 800
    """Most pieces of held-out DNA on the embedding map, an eighth of them of each kind; a quarter of a window long."""
    draws: int = 32
    """Sequences to draw from the model, each as long as a training window; 0 leaves them out."""
    steps: int = 16
    """Forward passes for a drawn sequence."""
    seed: int = 0
    """Seed of pairs and draws."""

    def __post_init__(self) -> None:
        """Check ranges, and that there is an annotation to what refers to it."""
        require_ranges(self, {"at least 1": ["pairs", "tiles", "steps"], "at least 0": ["draws", "seed"]})
        for name in ("genome", "matrices"):
            if getattr(self, name) is not None and self.genes is None:
                raise ConfigError(f"--{name} belongs to an annotation: give --genes too")
