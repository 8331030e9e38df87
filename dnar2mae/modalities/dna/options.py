"""Options of embedding DNA. No torch here, so that ``--help`` stays quick."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from dnar2mae.config import require
from dnar2mae.modalities.options import EmbedOptions

Pool = Literal["mean", "max", "mean-max", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DnaEmbedOptions(EmbedOptions):
    """Where the sequences are, and how they are cut, encoded and pooled."""

    genome: Path | None = None
    """Sequence file that a BED input refers to."""
    assembly_report: Path | None = None
    """NCBI's *_assembly_report.txt of the genome: a BED input may then name sequences by accession, as chr1 or as 1."""
    tile_bp: int | None = None
    """Cut FASTA or GenBank sequences into tiles of this length, each its own row."""
    pool: Pool = "mean"
    """Over a sequence's known tokens (not those with an N); mean-max has both side by side; none gives a row a token
    (.npy only)."""
    both_strands: bool = False
    """Average with the reverse complement, aligned base by base for none (for max, the larger)."""
    window_bp: int | None = None
    """Longest stretch encoded at once; longer sequences are cut. By default the length of the training windows."""

    def __post_init__(self) -> None:
        """Check ranges."""
        EmbedOptions.__post_init__(self)
        require(self.pool in get_args(Pool), "pool", "mean, max, mean-max or none", self.pool)
        require(self.window_bp is None or self.window_bp >= 1, "window-bp", "at least 1", self.window_bp)
