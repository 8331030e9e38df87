r"""Scores of variants, from masked predictions and embeddings.

A substitution is scored by the log-likelihood ratio at the masked site, which both alleles share:

.. math:: \frac{1}{c} \sum_{t \in M} \log p(a_t \mid x_{\setminus M}) - \log p(r_t \mid x_{\setminus M})

with M the tokens that cover a changed base, all masked at once, and c the number of tokens that cover one base (1
unless k-mers overlap). ``--snv fast`` masks other bases along with the site.

An insertion or deletion changes the number of tokens; its score is the difference of the
pseudo-log-likelihoods of both alleles and of ``indel_flank_bp`` bases on either side, each token masked in turn and
counted from the log-likelihood of a uniform token, so that length as such weighs nothing. ``--indel fast`` masks every
fourth of these tokens at once, in a shorter window.
Scores are in nats, averaged over both strands; below 0 the alternative is less expected than the reference.

References
----------
.. [1] Meier et al., "Language models enable zero-shot prediction of the effects of mutations on protein function",
   NeurIPS 2021 (masked marginals).
.. [2] Salazar et al., "Masked language model scoring", ACL 2020 (pseudo-log-likelihood).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from dnar2mae.errors import ConfigError
from dnar2mae.genome.alphabet import SOFT_MASK, UNKNOWN
from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model
from dnar2mae.variants.allele_windows import cut_windows
from dnar2mae.variants.alleles import SCORED, Allele, Site
from dnar2mae.variants.options import ScoreOptions
from dnar2mae.variants.questions import Questions, ask


class Scores(NamedTuple):
    """One value an alternative allele."""

    ratio: Float[np.ndarray, " A"]
    """Log-likelihood ratio, nats; NaN where there is no score, or every token at the site has an unknown base."""
    distance: Float[np.ndarray, " A"]
    """Distance of embeddings; NaN unless ``ScoreOptions.distance``."""
    percentile: Float[np.ndarray, " A"]
    """Per cent of substitutions of the same trinucleotide that score lower; NaN unless ``ScoreOptions.calibrate``."""


def score_alleles(
    model: Model, genome: Genome, sites: Sequence[Sequence[Allele]], options: ScoreOptions
) -> list[Scores]:
    """Score alleles that have been compared with the genome; percentiles are left out.

    Parameters
    ----------
    model
        A model of objective ``mlm``.
    genome
        The genome that the alleles refer to.
    sites
        Alleles in their shortest form, as :func:`dnar2mae.variants.alleles.judge` returns them.
    options
        Window, strands, distance.

    Returns
    -------
    list of Scores
        A Scores a site. An allele's scores depend neither on the others nor on their order.

    Raises
    ------
    RunError
        If the model has no masked predictions (objective ``mae``).
    ConfigError
        If ``ScoreOptions.snv`` is fast and tokens are more than a base.
    """
    if options.snv == "fast" and model.tokenizer.k > 1:
        raise ConfigError(f"{model.source}: --snv fast needs a run on single bases, got k = {model.tokenizer.k}")
    questions = Questions(model)
    asked = [[ask(questions, genome, allele, options) for allele in alleles] for alleles in sites]
    with torch.autocast(model.device.type, torch.bfloat16, enabled=options.precision == "bf16"):
        questions.answer(options.batch_tokens)
        distances = _distances(model, genome, sites, options)
    ratios = [np.array([questions.total(terms) for terms in of_site], np.float32) for of_site in asked]
    return [
        Scores(ratio, distance, np.full_like(ratio, np.nan)) for ratio, distance in zip(ratios, distances, strict=True)
    ]


def spread(site: Site, scores: Scores) -> Scores:
    """Return the scores of all alleles of a site, NaN for those that were not scored."""
    good = np.array([status == SCORED for status in site.statuses], bool)
    values = np.full((len(scores), len(good)), np.nan, np.float32)
    values[:, good] = scores
    return Scores(*values)


def mutagenesis(
    model: Model, genome: Genome, region: tuple[str, int, int], options: ScoreOptions | None = None
) -> Float[np.ndarray, "L 4"]:
    """Score every substitution of a region (in-silico mutagenesis).

    Parameters
    ----------
    model, genome
        As for :func:`score_alleles`.
    region
        Name, start, end; 0-based half-open.
    options
        Window and strands.

    Returns
    -------
    float32 [L, 4]
        Log-likelihood ratio of A, C, G, T against the reference base at each position; 0 for the reference base
        itself, NaN where that is unknown.

    Raises
    ------
    SequenceError
        If the region is not inside the sequence.
    RunError
        If the model has no masked predictions (objective ``mae``).
    """
    name, start, end = region
    codes = genome.codes(name, start, end) & ~np.uint8(SOFT_MASK)
    known = np.flatnonzero(codes < UNKNOWN)
    sites = [substitutions(name, start + int(i), int(codes[i])) for i in known]
    scores = np.full((len(codes), 4), np.nan, np.float32)
    for i, scored in zip(known, score_alleles(model, genome, sites, options or ScoreOptions()), strict=True):
        scores[i] = np.insert(scored.ratio, codes[i], 0)  # alternatives are in the order of ACGT
    return scores


def substitutions(name: str, start: int, code: int) -> list[Allele]:
    """Return the three substitutions of a base, in the order of A, C, G, T."""
    return [Allele(name, start, "ACGT"[code], base) for base in "ACGT" if base != "ACGT"[code]]


def _distances(
    model: Model, genome: Genome, sites: Sequence[Sequence[Allele]], options: ScoreOptions
) -> list[Float[np.ndarray, " _"]]:
    if not options.distance:
        return [np.full(len(alleles), np.nan, np.float32) for alleles in sites]
    numbers: dict[bytes, int] = {}
    numbered = [
        [
            [numbers.setdefault(codes.tobytes(), len(numbers)) for codes in cut_windows(model, genome, a, options)[:2]]
            for a in alleles
        ]
        for alleles in sites
    ]
    codes = [np.frombuffer(window, np.uint8) for window in numbers]
    # a sequence shorter than a token has no embedding
    embedded = np.array([model.tokenizer.num_tokens(len(window)) > 0 for window in codes], bool)
    vectors = np.full((len(codes), model.module.config.width), np.nan, np.float32)
    if embedded.any():
        vectors[embedded] = model.embed(
            [window for window, has_token in zip(codes, embedded, strict=True) if has_token],
            both_strands=options.both_strands,
            window_bp=options.window_bp,
            batch_tokens=options.batch_tokens,
        )
    return [
        np.array([np.linalg.norm(vectors[alt] - vectors[ref]) for ref, alt in of_site], np.float32)
        for of_site in numbered
    ]
