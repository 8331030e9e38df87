"""Effects of variants: masked log-likelihood ratios, pseudo-log-likelihoods and embedding distances."""

from dnar2mae.variants.scores import ScoreOptions, Scores, Variant, mutagenesis, score_variants
from dnar2mae.variants.vcf import Labels, VcfReport, score_vcf

__all__ = ["Labels", "ScoreOptions", "Scores", "Variant", "VcfReport", "mutagenesis", "score_variants", "score_vcf"]
