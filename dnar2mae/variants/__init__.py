"""Effects of variants: masked log-likelihood ratios, pseudo-log-likelihoods and embedding distances."""

from dnar2mae.variants.controls import ControlOptions, score_controls
from dnar2mae.variants.evaluation import Labels, Measured
from dnar2mae.variants.options import ScoreOptions
from dnar2mae.variants.saturation import EverySubstitution
from dnar2mae.variants.scores import mutagenesis
from dnar2mae.variants.table import score_variants
from dnar2mae.variants.vcf import ReadOptions, score_vcf

__all__ = [
    "ControlOptions",
    "EverySubstitution",
    "Labels",
    "Measured",
    "ReadOptions",
    "ScoreOptions",
    "mutagenesis",
    "score_controls",
    "score_variants",
    "score_vcf",
]
