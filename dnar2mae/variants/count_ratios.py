"""Log-likelihood ratios of substitutions under counts of short words: what a model's scores have to beat."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from dnar2mae.genome.alphabet import SOFT_MASK, UNKNOWN, complement, encode
from dnar2mae.genome.markov import MarkovCounts
from dnar2mae.genome.masked_bases import MaskedBases
from dnar2mae.genome.store import Genome
from dnar2mae.genome.two_sided import TwoSidedCounts
from dnar2mae.variants.alleles import Variant

_ORDER = 10
_Ratios = Float64[np.ndarray, " N"]
TWO_SIDED, ONE_SIDED = "two-sided counts", "one-sided counts of 11-mers"


def count_ratios(
    fitted: UInt8[np.ndarray, " F"], genome: Genome, variants: Sequence[Variant]
) -> dict[str, Float64[np.ndarray, " N"]]:
    r"""Score substitutions of one base by counts, averaged over the strands as a model's scores are.

    Two-sided, the base alone is predicted from the bases around it; one-sided (order 10), it and the ten bases after
    it, whose contexts it changes:

    .. math:: \log \frac{p(a \mid \text{4 or 5 bases on each side})}{p(r \mid \ldots)}, \qquad
        \sum_{i=0}^{10} \log \frac{p(x^a_i \mid x^a_{i-10..i-1})}{p(x^r_i \mid x^r_{i-10..i-1})}

    Parameters
    ----------
    fitted
        Training bases, as :func:`dnar2mae.genome.fitted_bases.fitted_bases` reads them.
    genome
        The genome that the variants refer to.
    variants
        Substitutions of one known base by another; the first alternative is scored.

    Returns
    -------
    dict
        By ``TWO_SIDED`` and ``ONE_SIDED``, the ratios in nats; below 0 the alternative is less expected.
    """
    windows = {alt: _both_strands(allele_windows(genome, variants, _ORDER, alt)) for alt in (False, True)}
    size = windows[True].shape[1]
    sites = np.arange(len(windows[True])) * size + _ORDER
    # one family after the other: their tables are large
    two_sided = _ratios(TwoSidedCounts(fitted), -1, windows, sites[:, None])
    one_sided = _ratios(MarkovCounts(fitted), _ORDER, windows, sites[:, None] + np.arange(_ORDER + 1))
    return {TWO_SIDED: two_sided, ONE_SIDED: one_sided}


def _ratios(
    model: TwoSidedCounts | MarkovCounts,
    row: int,
    windows: dict[bool, UInt8[np.ndarray, "R L"]],
    targets: Int64[np.ndarray, "R P"],
) -> _Ratios:
    """Return the nats that a row of the model's results saves on the targets by the reference bases; strands averaged.

    Targets with an unknown base are left out, in both alleles alike.
    """
    bits = []
    for codes in (windows[False], windows[True]):
        shown = codes.copy()
        shown[:, _ORDER] = UNKNOWN
        known = codes.ravel()[targets] < UNKNOWN
        asked = targets[known]
        masked = MaskedBases(codes, shown, asked, np.zeros(len(asked), np.int64))
        bits.append(np.bincount(asked // codes.shape[1], model.bits(masked)[row], minlength=len(codes)))
    nats = (bits[0] - bits[1]) * np.log(2)
    return nats.reshape(2, -1).mean(0)


def allele_windows(genome: Genome, variants: Sequence[Variant], flank: int, is_alt: bool) -> UInt8[np.ndarray, "N L"]:
    """Return an allele of each substitution amid ``flank`` bases on either side, unknown beyond its sequence."""
    sequence = np.array([genome.index[v.name] for v in variants], np.int64)
    site = genome.offsets[sequence] + np.array([v.start for v in variants], np.int64)
    at = site[:, None] + np.arange(-flank, flank + 1)
    inside = (at >= genome.offsets[sequence][:, None]) & (at < genome.offsets[sequence + 1][:, None])
    bases = genome.windows(np.clip(at, 0, genome.total_bp - 1).ravel(), 1).reshape(at.shape) & np.uint8(SOFT_MASK - 1)
    codes = np.where(inside, bases, np.uint8(UNKNOWN))
    codes[:, flank] = encode("".join(v.alts[0] if is_alt else v.ref for v in variants).encode())
    return codes


def _both_strands(codes: UInt8[np.ndarray, "N L"]) -> UInt8[np.ndarray, "R L"]:
    return np.concatenate([codes, complement(codes[:, ::-1])])
