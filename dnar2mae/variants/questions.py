"""Masked inputs whose predictions the scores of alleles are sums of, each asked once however many alleles share it."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from dnar2mae.genome.alphabet import complement, encode
from dnar2mae.genome.store import Genome
from dnar2mae.genome.window_layout import WindowOver, window_over
from dnar2mae.inference import Model
from dnar2mae.inference.predictions import masked_log_probabilities
from dnar2mae.variants.allele_windows import FAST_WINDOW_BP, Codes, Pair, cut_windows, is_fast, is_shared
from dnar2mae.variants.alleles import Allele
from dnar2mae.variants.options import ScoreOptions

SNV_PERIOD = 8
"""One of so many bases is masked at once by ``--snv fast``, as in tracks; no multiple of 3, which would mask a codon
position everywhere."""
SNV_OVERLAP_SHARE = 0.25
"""Share of a window of ``--snv fast`` that it has in common with the next, as in tracks."""
_FAST_PERIOD = 4  # more cost time; fewer hide so much that scores change; dilated convolutions share most of every 4th


class Term(NamedTuple):
    """A weighted sum of log-probabilities in the answer to one question."""

    question: int
    rows: Int[np.ndarray, " M"]
    """Which of the positions that were asked for."""
    ids: Int[np.ndarray, " M"]
    """Tokens there."""
    weight: float


class Questions:
    """Masked inputs, each asked once, however many alleles share it."""

    def __init__(self, model: Model) -> None:
        self.model, self.strands_agree = model, model.is_strand_symmetric
        self.tokens: list[np.ndarray] = []
        self.positions: list[np.ndarray] = []
        self.shared: dict[tuple[int, int, int], tuple[int, np.ndarray]] = {}
        """Those of ``--snv fast``, and the coordinates that each asks for, by window, first masked base and strand."""
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

    def total(self, terms: Sequence[Term]) -> float:
        """Return the sum of terms; NaN if there is none."""
        first = self.model.tokenizer.vocabulary.first_real
        sums = [t.weight * self._answers[t.question][t.rows, t.ids - first].sum(dtype=np.float64) for t in terms]
        return float(sum(sums)) if sums else np.nan


def ask(questions: Questions, genome: Genome, allele: Allele, options: ScoreOptions) -> list[Term]:
    """Ask the questions whose weighted answers sum to the score of an allele."""
    if is_shared(allele, options):
        return _ratio_in_pattern(questions, genome, allele, options)
    model, fast = questions.model, is_fast(allele, options)
    pair = cut_windows(model, genome, allele, options, FAST_WINDOW_BP if fast else None)
    if not all(model.tokenizer.num_tokens(len(codes)) for codes in pair[:2]):
        return []
    # of --indel fast each strand asks for other bases
    strands = [pair, pair.flipped()] if options.both_strands and (fast or not questions.strands_agree) else [pair]
    if len(allele.ref) == len(allele.alt):
        return [term for strand in strands for term in _ratio(questions, strand, 1 / len(strands))]
    terms = []
    for is_reverse, strand in enumerate(strands):
        for codes, span, sign in ((strand.alt, strand.alt_span, 1), (strand.ref, strand.ref_span, -1)):
            ids, touched = _touched(model, codes, span, options.indel_flank_bp)
            groups, share = list(touched[:, None]), 1 / len(strands)
            if fast:
                groups, share = _interleaved(model, touched, options, is_reverse=bool(is_reverse))
            terms += _pseudo_likelihood(questions, ids, groups, sign * share)
    return terms


def _ratio(questions: Questions, pair: Pair, share: float) -> list[Term]:
    tokenizer = questions.model.tokenizer
    ref_ids, alt_ids = tokenizer.encode(pair.ref), tokenizer.encode(pair.alt)
    changed = np.flatnonzero(ref_ids != alt_ids)
    if not changed.size:
        return []
    question = questions.ask(ref_ids, changed, changed)
    weight = share / tokenizer.vocabulary.anchor_stride
    rows = np.arange(len(changed))
    return [Term(question, rows, alt_ids[changed], weight), Term(question, rows, ref_ids[changed], -weight)]


def _ratio_in_pattern(questions: Questions, genome: Genome, allele: Allele, options: ScoreOptions) -> list[Term]:
    """Ask for all bases that are masked together with a substituted one: others among them share the question."""
    tokenizer = questions.model.tokenizer
    position, _ = genome.concatenated(allele.name, allele.start, allele.start + 1)
    window = window_over(genome, position, options.window_bp or questions.model.window_bp, SNV_OVERLAP_SHARE)
    first = position - (position - window.start) // SNV_PERIOD * SNV_PERIOD  # of those of the window
    base = encode((allele.ref + allele.alt).encode())
    terms, both_strands = [], options.both_strands and not questions.strands_agree
    for strand in (1, -1) if both_strands else (1,):
        question, asked = questions.shared.get((window.start, first, strand), (-1, base))
        if question < 0:
            question, asked = _ask_pattern(questions, genome.span(window.start, window.end), window, first, strand)
            questions.shared[window.start, first, strand] = question, asked
        row = np.flatnonzero(asked == position)
        ref, alt = tokenizer.encode(base if strand > 0 else complement(base))[:, None]
        weight = 0.5 if both_strands else 1.0
        terms += [Term(question, row, alt, weight), Term(question, row, ref, -weight)]
    return terms


def _ask_pattern(
    questions: Questions, codes: Codes, window: WindowOver, first: int, strand: int
) -> tuple[int, Int[np.ndarray, " M"]]:
    """Mask every n-th base of a window from ``first`` on; return the question, and the coordinates asked for."""
    tokenizer = questions.model.tokenizer
    ids = tokenizer.encode(codes if strand > 0 else complement(codes[::-1]))
    along = np.arange(window.start, window.end)[::strand]
    hidden = ((along - first) % SNV_PERIOD == 0) & (ids >= tokenizer.vocabulary.first_real)
    asked = np.flatnonzero(hidden & (along >= window.middle[0]) & (along < window.middle[1]))
    return questions.ask(ids, np.flatnonzero(hidden), asked), along[asked]


def _touched(
    model: Model, codes: Codes, span: tuple[int, int], flank_bp: int
) -> tuple[Int[np.ndarray, " T"], Int[np.ndarray, " N"]]:
    """Return the tokens of a window, and the places of the known ones that touch the flanked span."""
    tokenizer = model.tokenizer
    ids = tokenizer.encode(codes)
    starts = np.arange(len(ids)) * tokenizer.stride
    near = (starts + tokenizer.k > span[0] - flank_bp) & (starts < span[1] + flank_bp)
    return ids, np.flatnonzero(near & (ids >= tokenizer.vocabulary.first_real))


def _interleaved(
    model: Model, touched: Int[np.ndarray, " N"], options: ScoreOptions, *, is_reverse: bool
) -> tuple[list[Int[np.ndarray, " _"]], float]:
    """Return the tokens that ``--indel fast`` masks together on a strand, and their weight in the sum.

    Of single bases, those of even number along the forward strand are asked for on that one and the others on the
    reverse strand. Longer tokens begin elsewhere on the reverse strand: all are asked for on both.
    """
    period = _FAST_PERIOD * model.tokenizer.vocabulary.anchor_stride
    along = touched[::-1] if is_reverse else touched
    is_shared = options.both_strands and model.tokenizer.k == 1
    phases = range(period)[is_reverse::2] if is_shared else range(period)
    groups = [np.sort(along[phase::period]) for phase in phases if phase < len(along)]
    return groups, 0.5 if options.both_strands and not is_shared else 1.0


def _pseudo_likelihood(
    questions: Questions, ids: Int[np.ndarray, " T"], groups: Iterable[Int[np.ndarray, " _"]], share: float
) -> list[Term]:
    """Ask for tokens a group at a time, masked with all tokens that share a base with one of them."""
    vocabulary = questions.model.tokenizer.vocabulary
    reach = np.arange(1 - vocabulary.anchor_stride, vocabulary.anchor_stride)
    terms = []
    for tokens in groups:
        near = np.unique(tokens[:, None] + reach)
        near = near[(near >= 0) & (near < len(ids))]
        question = questions.ask(ids, near[ids[near] >= vocabulary.first_real], tokens)
        terms.append(Term(question, np.arange(len(tokens)), ids[tokens], share / vocabulary.anchor_stride))
    return terms
