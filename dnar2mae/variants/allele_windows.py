"""The windows of sequence around an allele and around what the genome has in its place."""

from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from dnar2mae.genome.alphabet import complement, encode
from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model
from dnar2mae.variants.alleles import Allele
from dnar2mae.variants.options import ScoreOptions

Codes = UInt8[np.ndarray, " L"]
FAST_WINDOW_BP = 192
"""Window of an insertion or deletion scored by ``--indel fast``; half as long again would cost a third more."""


class Pair(NamedTuple):
    """Windows of both alleles on one strand, and the start and end of the alleles in them."""

    ref: Codes
    alt: Codes
    ref_span: tuple[int, int]
    alt_span: tuple[int, int]

    def flipped(self) -> "Pair":
        """Return the pair on the other strand."""
        sides = ((self.ref, self.ref_span), (self.alt, self.alt_span))
        spans = [(len(codes) - end, len(codes) - start) for codes, (start, end) in sides]
        return Pair(complement(self.ref[::-1]), complement(self.alt[::-1]), spans[0], spans[1])


def longest_allele(model: Model, options: ScoreOptions) -> int:
    """Return the most bases of an allele that leave half of the window as context."""
    return max((options.window_bp or model.window_bp) // 2 - 2 * options.indel_flank_bp, 1)


def is_fast(allele: Allele, options: ScoreOptions) -> bool:
    """Tell whether an allele is one that ``--indel fast`` scores: longer ones need the context that they would take."""
    longest = max(len(allele.ref), len(allele.alt)) + 2 * options.indel_flank_bp
    return options.indel == "fast" and len(allele.ref) != len(allele.alt) and 2 * longest <= FAST_WINDOW_BP


def is_shared(allele: Allele, options: ScoreOptions) -> bool:
    """Tell whether an allele is one that ``--snv fast`` scores."""
    return options.snv == "fast" and len(allele.ref) == len(allele.alt) == 1


def cut_windows(
    model: Model, genome: Genome, allele: Allele, options: ScoreOptions, most_bp: int | None = None
) -> Pair:
    """Cut the windows of both alleles, the site in the middle unless the sequence ends near it.

    Parameters
    ----------
    model
        Whose windows they are.
    genome
        The genome.
    allele
        One that can be scored.
    options
        Window and flank.
    most_bp
        Longest window, where that of the options is longer.
    """
    window_bp = options.window_bp or model.window_bp
    most_bp = min(most_bp or window_bp, window_bp)
    name, start = allele.name, allele.start
    total = int(genome.lengths[genome.index[name]])
    end, end_alt = start + len(allele.ref), start + len(allele.alt)
    length = _whole_tokens(model, min(most_bp, total))
    left = min(max(start + len(allele.ref) // 2 - length // 2, 0), total - length)
    # of the sequence with ALT in it: begins where the window of REF does, unless near the end of the sequence ALT and
    # its flank would be cut, or the window would reach beyond the end
    total_alt = total + end_alt - end
    length_alt = _whole_tokens(model, min(most_bp, total_alt))
    least = end_alt + min(options.indel_flank_bp, left + length - end) - length_alt
    left_alt = min(max(left, least), total_alt - length_alt)
    before = genome.codes(name, min(left_alt, start), start)
    rest = genome.codes(name, end, min(end + length_alt, total))
    alt = np.concatenate([before, encode(allele.alt.encode()), rest])[max(left_alt - start, 0) :][:length_alt]
    return Pair(
        genome.codes(name, left, left + length), alt, (start - left, end - left), (start - left_alt, end_alt - left_alt)
    )


def _whole_tokens(model: Model, length: int) -> int:
    """Return the length of a window, rounded down to whole tokens, so that no base at its end is without one."""
    tokenizer = model.tokenizer
    num_tokens = tokenizer.num_tokens(length)
    # a sequence shorter than a token has none
    return (num_tokens - 1) * tokenizer.stride + tokenizer.k if num_tokens else length
