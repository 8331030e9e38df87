"""Effects of variants: masked log-likelihood ratios, pseudo-log-likelihoods and embedding distances."""

from dnar2mae.variants.alleles import Variant
from dnar2mae.variants.controls import ControlOptions, score_controls
from dnar2mae.variants.scores import ScoreOptions, Scores, mutagenesis, score_variants
from dnar2mae.variants.vcf import Labels, score_vcf

__all__ = [
    "ControlOptions",
    "Labels",
    "ScoreOptions",
    "Scores",
    "Variant",
    "mutagenesis",
    "score_controls",
    "score_variants",
    "score_vcf",
]
