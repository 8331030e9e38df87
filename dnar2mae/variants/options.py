"""How variants are scored."""

from dataclasses import dataclass
from typing import Literal

from dnar2mae.errors import require_choices, require_ranges


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreOptions:
    """How variants are scored."""

    window_bp: int | None = None
    """Sequence around a variant that the model sees. By default the length of the training windows."""
    both_strands: bool = True
    """Average the two strands' scores; one strand takes half the time. Where the model shares weights between them,
    ratios are the same on both, and one is computed."""
    distance: bool = False
    """Also compute the Euclidean distance of the two alleles' mean embeddings; takes about three times as long."""
    snv: Literal["exact", "fast"] = "exact"
    """exact masks the site of a substitution alone, in a window that has it in its middle. fast masks every 8th base at
    once, in the windows that tracks have: all sites there share the passes, nearly the same scores in a fraction of the
    time where every base is asked for, in a multiple of it where sites lie far apart. Substitutions of one base, and
    models of single bases only."""
    indel: Literal["exact", "fast"] = "exact"
    """exact masks each base around an insertion or deletion in turn, in the window that substitutions have. fast masks
    every fourth one at once, each on one of the strands, in 192 bp: a quarter to a ninth of the time,
    nearly the same order."""
    indel_flank_bp: int = 4
    """Bases on either side of an insertion or deletion that count in its pseudo-log-likelihood."""
    calibrate: bool = False
    """Also give the percentile of each substitution's score among those of the same bases elsewhere in the genome."""
    calibration_sites: int = 256
    """Sites of each trinucleotide, with their three substitutions each, that percentiles are among."""
    seed: int = 0
    """Seed of the draw of these sites."""
    workers: int = 0
    """Processes that score on a CPU, each with one thread; 0 scores in this process, with its threads."""
    batch_tokens: int | None = None
    """Tokens encoded at once; by default a number that suits the device. Changes speed and memory only."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 runs matrix products in bfloat16: faster where the hardware has it, ratios differ by about 0.01."""

    def __post_init__(self) -> None:
        """Check choices and ranges."""
        require_choices(self)
        require_ranges(
            self,
            {
                "at least 16": ["window_bp"],
                "at least 0": ["indel_flank_bp", "seed", "workers"],
                "at least 1": ["calibration_sites"],
            },
        )
