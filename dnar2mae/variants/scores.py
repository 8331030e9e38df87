r"""Scores of variants, from masked predictions and embeddings.

A substitution is scored by the log-likelihood ratio at the masked site, which both alleles share:

.. math:: \frac{1}{c} \sum_{t \in M} \log p(a_t \mid x_{\setminus M}) - \log p(r_t \mid x_{\setminus M})

with M the tokens that cover a changed base, all masked at once, and c the number of tokens that cover one base (1
unless k-mers overlap). An insertion or deletion changes the number of tokens; its score is the difference of the
pseudo-log-likelihoods of both alleles and of ``indel_flank_bp`` bases on either side, each token masked in turn and
counted from the log-likelihood of a uniform token, so that length as such weighs nothing.
Scores are in nats, averaged over both strands; below 0 the alternative is less expected than the reference.

References
----------
.. [1] Meier et al., "Language models enable zero-shot prediction of the effects of mutations on protein function",
   NeurIPS 2021 (masked marginals).
.. [2] Salazar et al., "Masked language model scoring", ACL 2020 (pseudo-log-likelihood).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from dnar2mae.errors import ConfigError
from dnar2mae.genome.alphabet import SOFT_MASK, UNKNOWN, complement, encode
from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model
from dnar2mae.inference.predictions import masked_log_probabilities
from dnar2mae.variants.alleles import ALT_IS_REF, SCORED, Allele, Site, Variant, judge_strictly

Codes = UInt8[np.ndarray, " L"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreOptions:
    """How variants are scored."""

    window_bp: int | None = None
    """Sequence around a variant that the model sees. By default the length of the training windows."""
    both_strands: bool = True
    """Average the two strands' scores; one strand takes half the time."""
    distance: bool = False
    """Also compute the Euclidean distance of the two alleles' mean embeddings; takes about three times as long."""
    indel_flank_bp: int = 4
    """Bases on either side of an insertion or deletion that count in its pseudo-log-likelihood."""
    batch_tokens: int | None = None
    """Tokens encoded at once; by default a number that suits the device. Changes speed and memory only."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 runs matrix products in bfloat16: faster where the hardware has it, ratios differ by about 0.01."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.window_bp is not None and self.window_bp < 16:
            raise ConfigError(f"--window-bp must be at least 16, got {self.window_bp}")
        if self.indel_flank_bp < 0:
            raise ConfigError(f"--indel-flank-bp must be at least 0, got {self.indel_flank_bp}")


class Scores(NamedTuple):
    """One value an alternative allele."""

    ratio: Float[np.ndarray, " A"]
    """Log-likelihood ratio, nats; NaN where every token at the site has an unknown base."""
    distance: Float[np.ndarray, " A"]
    """Distance of embeddings; NaN unless ``ScoreOptions.distance``."""


def score_variants(
    model: Model, genome: Genome, variants: Sequence[Variant], options: ScoreOptions | None = None
) -> list[Scores]:
    """Score the alternative alleles of variants.

    Parameters
    ----------
    model
        A model of objective ``mlm``.
    genome
        The genome that the variants refer to.
    variants
        Sites whose reference bases are those of the genome.
    options
        Window, strands, distance.

    Returns
    -------
    list of Scores
        In the order given; 0 for an alternative that is the reference. A variant's scores depend neither on the others
        nor on how an insertion or deletion is written.

    Raises
    ------
    SequenceError
        If the genome has no such sequence, the site is not inside of it, REF is not what is there, or an allele has
        another letter than A, C, G, T or is longer than :func:`longest_allele`.
    RunError
        If the model has no masked predictions (objective ``mae``).
    """
    options = options or ScoreOptions()
    sites = [judge_strictly(genome, v, longest_allele(model, options)) for v in variants]
    scored = score_alleles(model, genome, [site.alleles for site in sites], options)
    spreads = [spread(site, scores) for site, scores in zip(sites, scored, strict=True)]
    for site, (ratio, distance) in zip(sites, spreads, strict=True):
        same = np.array([status == ALT_IS_REF for status in site.statuses], bool)
        ratio[same] = 0
        if options.distance:
            distance[same] = 0
    return spreads


def score_alleles(
    model: Model, genome: Genome, sites: Sequence[Sequence[Allele]], options: ScoreOptions
) -> list[Scores]:
    """Score alleles that have been compared with the genome, as :func:`score_variants`; a Scores a site."""
    pairs = [[_windows(model, genome, allele, options) for allele in alleles] for alleles in sites]
    questions = _Questions(model)
    asked = [[_ask(questions, pair, options) for pair in of_site] for of_site in pairs]
    with torch.autocast(model.device.type, torch.bfloat16, enabled=options.precision == "bf16"):
        questions.answer(options.batch_tokens)
        distances = _distances(model, pairs, options)
    ratios = [np.array([questions.total(terms) for terms in of_site], np.float32) for of_site in asked]
    return [Scores(ratio, distance) for ratio, distance in zip(ratios, distances, strict=True)]


def spread(site: Site, scores: Scores) -> Scores:
    """Return the scores of all alleles of a site, NaN for those that were not scored."""
    good = np.array([status == SCORED for status in site.statuses], bool)
    ratio, distance = np.full((2, len(good)), np.nan, np.float32)
    ratio[good], distance[good] = scores
    return Scores(ratio, distance)


def mutagenesis(
    model: Model, genome: Genome, region: tuple[str, int, int], options: ScoreOptions | None = None
) -> Float[np.ndarray, "L 4"]:
    """Score every substitution of a region (in-silico mutagenesis).

    Parameters
    ----------
    model, genome, options
        As for :func:`score_variants`.
    region
        Name, start, end; 0-based half-open.

    Returns
    -------
    float32 [L, 4]
        Log-likelihood ratio of A, C, G, T against the reference base at each position; 0 for the reference base
        itself, NaN where that is unknown.

    Raises
    ------
    SequenceError
        If the region is not inside the sequence.
    """
    name, start, end = region
    codes = genome.codes(name, start, end) & ~np.uint8(SOFT_MASK)
    known = np.flatnonzero(codes < UNKNOWN)
    sites = [
        Variant(name, start + int(i), "ACGT"[codes[i]], tuple(b for b in "ACGT" if b != "ACGT"[codes[i]]))
        for i in known
    ]
    scores = np.full((len(codes), 4), np.nan, np.float32)
    for i, scored in zip(known, score_variants(model, genome, sites, options), strict=True):
        scores[i] = np.insert(scored.ratio, codes[i], 0)  # alternatives are in the order of ACGT
    return scores


def longest_allele(model: Model, options: ScoreOptions) -> int:
    """Return the most bases of an allele that leave half of the window as context."""
    return max((options.window_bp or model.window_bp) // 2 - 2 * options.indel_flank_bp, 1)


class _Pair(NamedTuple):
    """Windows of both alleles on the forward strand, and the start and end of the alleles in them."""

    ref: Codes
    alt: Codes
    ref_span: tuple[int, int]
    alt_span: tuple[int, int]


class _Term(NamedTuple):
    """A weighted sum of log-probabilities in the answer to one question."""

    question: int
    ids: Int[np.ndarray, " M"]
    weight: float


class _Questions:
    """Masked inputs, each asked once, however many alleles share it."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.tokens: list[np.ndarray] = []
        self.positions: list[np.ndarray] = []
        self._index: dict[bytes, int] = {}
        self._answers: list[np.ndarray] = []

    def ask(self, ids: np.ndarray, hidden: np.ndarray, positions: np.ndarray) -> int:
        """Mask the tokens ``hidden`` and predict those at ``positions``."""
        shown = ids.copy()
        shown[hidden] = self.model.tokenizer.vocabulary.mask_id
        # Alternatives at one site, and variants at the same bases, mask the same input: one forward pass for all.
        key = shown.tobytes() + positions.tobytes()
        if key not in self._index:
            self._index[key] = len(self.tokens)
            self.tokens.append(shown)
            self.positions.append(positions)
        return self._index[key]

    def answer(self, batch_tokens: int | None) -> None:
        """Run the model; log-probabilities are counted from that of a uniform token."""
        log_probabilities = masked_log_probabilities(self.model.module, self.tokens, self.positions, batch_tokens)
        self._answers = [scores + np.log(scores.shape[1], dtype=np.float32) for scores in log_probabilities]

    def total(self, terms: Sequence[_Term]) -> float:
        """Return the sum of terms; NaN if there is none."""
        first = self.model.tokenizer.vocabulary.first_real
        sums = [
            t.weight * self._answers[t.question][np.arange(len(t.ids)), t.ids - first].sum(dtype=np.float64)
            for t in terms
        ]
        return float(sum(sums)) if sums else np.nan


def _windows(model: Model, genome: Genome, allele: Allele, options: ScoreOptions) -> _Pair:
    """Cut the windows of both alleles, the site in the middle unless the sequence ends near it."""
    name, start, total = allele.name, allele.start, int(genome.lengths[genome.index[allele.name]])
    end, end_alt = start + len(allele.ref), start + len(allele.alt)
    length = _whole_tokens(model, options, total)
    left = min(max(start + len(allele.ref) // 2 - length // 2, 0), total - length)
    # of the sequence with ALT in it: begins where the window of REF does, unless near the end of the sequence ALT and
    # its flank would be cut, or the window would reach beyond the end
    total_alt = total + end_alt - end
    length_alt = _whole_tokens(model, options, total_alt)
    least = end_alt + min(options.indel_flank_bp, left + length - end) - length_alt
    left_alt = min(max(left, least), total_alt - length_alt)
    before = genome.codes(name, min(left_alt, start), start)
    rest = genome.codes(name, end, min(end + length_alt, total))
    alt = np.concatenate([before, encode(allele.alt.encode()), rest])[max(left_alt - start, 0) :][:length_alt]
    return _Pair(
        genome.codes(name, left, left + length), alt, (start - left, end - left), (start - left_alt, end_alt - left_alt)
    )


def _whole_tokens(model: Model, options: ScoreOptions, total_bp: int) -> int:
    """Return the length of a window, rounded down to whole tokens, so that no base at its end is without one."""
    tokenizer, length = model.tokenizer, min(options.window_bp or model.window_bp, total_bp)
    num_tokens = tokenizer.num_tokens(length)
    # a sequence shorter than a token has none
    return (num_tokens - 1) * tokenizer.stride + tokenizer.k if num_tokens else length


def _ask(questions: _Questions, pair: _Pair, options: ScoreOptions) -> list[_Term]:
    """Ask the questions whose weighted answers sum to a score."""
    if not all(questions.model.tokenizer.num_tokens(len(codes)) for codes in pair[:2]):
        return []
    substitution = len(pair.ref) == len(pair.alt) and pair.ref_span == pair.alt_span
    strands = [(pair.ref, pair.alt, pair.ref_span, pair.alt_span)]
    if options.both_strands:
        flip = [(len(c) - b, len(c) - a) for c, (a, b) in ((pair.ref, pair.ref_span), (pair.alt, pair.alt_span))]
        strands.append((complement(pair.ref[::-1]), complement(pair.alt[::-1]), flip[0], flip[1]))
    share = 1 / len(strands)
    terms = []
    for ref, alt, ref_span, alt_span in strands:
        if substitution:
            terms += _ratio(questions, ref, alt, share)
        else:
            flank = options.indel_flank_bp
            terms += _pseudo_likelihood(questions, alt, alt_span, flank, share)
            terms += _pseudo_likelihood(questions, ref, ref_span, flank, -share)
    return terms


def _ratio(questions: _Questions, ref: Codes, alt: Codes, share: float) -> list[_Term]:
    tokenizer = questions.model.tokenizer
    ref_ids, alt_ids = tokenizer.encode(ref), tokenizer.encode(alt)
    changed = np.flatnonzero(ref_ids != alt_ids)
    if not changed.size:
        return []
    question = questions.ask(ref_ids, changed, changed)
    weight = share / tokenizer.vocabulary.anchor_stride
    return [_Term(question, alt_ids[changed], weight), _Term(question, ref_ids[changed], -weight)]


def _pseudo_likelihood(
    questions: _Questions, codes: Codes, span: tuple[int, int], flank_bp: int, share: float
) -> list[_Term]:
    """Ask for each known token that touches the flanked span, masked with all tokens that share a base with it."""
    tokenizer = questions.model.tokenizer
    vocabulary, k, stride = tokenizer.vocabulary, tokenizer.k, tokenizer.stride
    ids = tokenizer.encode(codes)
    real = ids >= vocabulary.first_real
    starts = np.arange(len(ids)) * stride
    touched = np.flatnonzero((starts + k > span[0] - flank_bp) & (starts < span[1] + flank_bp) & real)
    terms = []
    for token in touched.tolist():
        near = np.arange(max(token - vocabulary.anchor_stride + 1, 0), min(token + vocabulary.anchor_stride, len(ids)))
        question = questions.ask(ids, near[real[near]], np.array([token]))
        terms.append(_Term(question, ids[[token]], share / vocabulary.anchor_stride))
    return terms


def _distances(model: Model, pairs: Sequence[Sequence[_Pair]], options: ScoreOptions) -> list[Float[np.ndarray, " _"]]:
    if not options.distance:
        return [np.full(len(of_site), np.nan, np.float32) for of_site in pairs]
    numbers: dict[bytes, int] = {}
    numbered = [
        [[numbers.setdefault(codes.tobytes(), len(numbers)) for codes in pair[:2]] for pair in of_site]
        for of_site in pairs
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
