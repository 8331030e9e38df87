"""Log-likelihood ratios of substitutions under known weight matrices: the most that a model can learn of sites."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, UInt8

from dnar2mae.genome.alphabet import UNKNOWN
from dnar2mae.genome.motifs import Motifs
from dnar2mae.genome.store import Genome
from dnar2mae.variants.alleles import Variant
from dnar2mae.variants.count_ratios import allele_windows

MATRICES = "known weight matrices"


def matrix_ratios(
    motifs: Motifs, sites_per_bp: float, genome: Genome, variants: Sequence[Variant]
) -> Float64[np.ndarray, " N"]:
    r"""Score substitutions of one base by the mixture of background and sites that the genome is taken to be.

    With at most one site over the substitution, of any matrix m, at any offset o and on either strand,

    .. math:: \log \frac{b(a)\,(1 + \rho \sum_{m, o, \pm} \prod_j p_m(x^a_{o + j}) / b(x^a_{o + j}))}
        {b(r)\,(1 + \rho \sum_{m, o, \pm} \prod_j p_m(x^r_{o + j}) / b(x^r_{o + j}))}

    with the background shares b, and the share rho of bases at which a site of one matrix begins on one strand.

    Parameters
    ----------
    motifs
        The matrices, all equally frequent.
    sites_per_bp
        Sites of all matrices together in a base pair of the genome.
    genome
        The genome that the variants refer to.
    variants
        Substitutions of one known base by another; the first alternative is scored.

    Returns
    -------
    array
        Nats; below 0 the alternative is less expected. An unknown base counts as background.
    """
    rho = sites_per_bp / (2 * len(motifs.matrices))
    flank = max(len(matrix) for matrix in motifs.matrices.values()) - 1
    logs = {}
    for is_alt in (False, True):
        codes = allele_windows(genome, variants, flank, is_alt)
        odds = np.zeros(len(codes))
        for matrix in motifs.matrices.values():
            relative = np.ones((len(matrix), UNKNOWN + 1))
            relative[:, :UNKNOWN] = matrix / motifs.background
            # base codes 0 to 3 are complementary in reverse order
            reverse = relative[::-1, [3, 2, 1, 0, UNKNOWN]]
            odds += _summed_odds(relative, codes, flank) + _summed_odds(reverse, codes, flank)
        logs[is_alt] = np.log(motifs.background[codes[:, flank]] * (1 + rho * odds))
    return logs[True] - logs[False]


def _summed_odds(
    relative: Float64[np.ndarray, "W 5"], codes: UInt8[np.ndarray, "N L"], centre: int
) -> Float64[np.ndarray, " N"]:
    """Return the sum, over the placements of a matrix that cover the centre, of its odds against the background."""
    width = len(relative)
    starts = range(centre - width + 1, centre + 1)
    return sum((relative[np.arange(width), codes[:, s : s + width]].prod(1) for s in starts), np.zeros(len(codes)))
