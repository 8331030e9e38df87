"""Settings of a simulated genome, and of simulated sequences with labels."""

import math
from dataclasses import dataclass
from typing import Literal

from dnar2mae.errors import ConfigError, require, require_choices

MIN_CHROMOSOME_BP = 20_000
MAX_INTRONS = 5
LONGEST_GENE_BP, LONGEST_INTRON_BP = 2450, 600
"""The gene with its promoter, without introns."""
# a site in every 40 bp leaves bases between that are 10 bp from either
MAX_SITES_PER_MB = 25_000


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulateConfig:
    """Size and composition of a simulated genome."""

    length_bp: int = 2_000_000
    """Total length of all chromosomes in base pairs, at least 20000 a chromosome."""
    chromosomes: int = 4
    """Number of chromosomes, at least 1; the first is the longest, up to twice the last."""
    genes_per_mb: float = 100.0
    """Genes in a million base pairs, on both strands, in [0, 183], with fewer introns up to 408, as far as
    --repeat-share leaves room."""
    max_introns: int = MAX_INTRONS
    """Most introns of a gene, in 0..5; 0 for a compact genome, as those of bacteria and yeasts are."""
    gc: float = 0.42
    """Mean GC share of the background (not of exons, repeats and CpG islands), in [0.3, 0.6]."""
    cpg_island_share: float = 0.5
    """Share of promoters inside a CpG island, in [0, 1]."""
    repeat_share: float = 0.4
    """Share of the genome in soft-masked (lower-case) repeats, in [0, 0.5]."""
    gaps_per_mb: float = 2.0
    """Assembly gaps (runs of 100 to 1000 N) in a million base pairs, in [0, 20]."""
    sites_per_mb: float = 0.0
    """Transcription-factor binding sites outside promoters in a million base pairs, in [0, 25000]."""
    seed: int = 0
    """Every random choice follows from it; in [0, 2**63)."""

    def __post_init__(self) -> None:
        """Check ranges, and that every chromosome has room for a gene."""
        require(self.chromosomes >= 1, "chromosomes", "at least 1", self.chromosomes)
        shortest = MIN_CHROMOSOME_BP * self.chromosomes
        rule = f"at least {shortest} ({MIN_CHROMOSOME_BP} a chromosome)"
        require(self.length_bp >= shortest, "length-bp", rule, self.length_bp)
        require(0 <= self.max_introns <= MAX_INTRONS, "max-introns", f"in 0..{MAX_INTRONS}", self.max_introns)
        most = 1_000_000 // (LONGEST_GENE_BP + self.max_introns * LONGEST_INTRON_BP)
        rule = f"in [0, {most}] where genes have up to {self.max_introns} introns"
        require(0 <= self.genes_per_mb <= most, "genes-per-mb", rule, self.genes_per_mb)
        require(0.3 <= self.gc <= 0.6, "gc", "in [0.3, 0.6]", self.gc)
        require(0 <= self.cpg_island_share <= 1, "cpg-island-share", "in [0, 1]", self.cpg_island_share)
        require(0 <= self.repeat_share <= 0.5, "repeat-share", "in [0, 0.5]", self.repeat_share)
        require(0 <= self.gaps_per_mb <= 20, "gaps-per-mb", "in [0, 20]", self.gaps_per_mb)
        sites_ok = 0 <= self.sites_per_mb <= MAX_SITES_PER_MB
        require(sites_ok, "sites-per-mb", f"in [0, {MAX_SITES_PER_MB}]", self.sites_per_mb)
        require(0 <= self.seed < 2**63, "seed", "in [0, 2**63)", self.seed)
        last = self.chromosome_lengths()[-1]
        room = self.genes_per_mb == 0 or last * self.genes_per_mb >= 1e6
        rule = f"at least {math.ceil(1e6 / last)} (one gene on the shortest chromosome) or 0"
        require(room, "genes-per-mb", rule, self.genes_per_mb)

    def chromosome_lengths(self) -> list[int]:
        """Return lengths in base pairs, falling linearly from 2n to n + 1 parts; they sum to ``length_bp``."""
        parts = range(2 * self.chromosomes, self.chromosomes, -1)
        lengths = [self.length_bp * part // sum(parts) for part in parts]
        lengths[-1] += self.length_bp - sum(lengths)
        return lengths


def dense() -> SimulateConfig:
    """Return settings of a genome of binding sites alone, one in 45 bp: what of it can be learned is known."""
    return SimulateConfig(
        length_bp=1_000_000,
        genes_per_mb=0.0,
        repeat_share=0.0,
        gaps_per_mb=0.0,
        sites_per_mb=1e6 / 45,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelsConfig:
    """Kind and size of a table."""

    kind: Literal["numbers", "labels"] = "numbers"
    """A number (column value), or three labels of 0 or 1 (counted, spaced, centred) for each sequence."""
    num: int = 2000
    """Rows, at least 100; a tenth each is for dev and test (column split)."""
    length_bp: int = 200
    """Length of a sequence in base pairs, in [100, 100000]."""
    noise: float | None = None
    """Standard deviation of the Gaussian noise of a number, at least 0; by default 0.5."""
    gc: float = 0.42
    """Mean GC share of the sequences, in [0.3, 0.6]."""
    seed: int = 0
    """Every random choice follows from it; in [0, 2**63)."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_choices(self)
        require(self.num >= 100, "num", "at least 100", self.num)
        require(100 <= self.length_bp <= 100_000, "length-bp", "in [100, 100000]", self.length_bp)
        require(self.noise is None or self.noise >= 0, "noise", "at least 0", self.noise)
        require(0.3 <= self.gc <= 0.6, "gc", "in [0.3, 0.6]", self.gc)
        require(0 <= self.seed < 2**63, "seed", "in [0, 2**63)", self.seed)
        if self.kind == "labels" and self.noise is not None:
            raise ConfigError("--noise is of --kind numbers: labels are drawn with their probabilities")
