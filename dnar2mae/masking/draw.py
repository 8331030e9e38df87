"""Which tokens are masked and what the encoder sees in their place: the definition, in plain PyTorch.

Every choice comes from one Philox call at ``(seed, MASK, sample, position)``: word 0 masks, word 1 picks the
replacement's kind, word 2 the random token. Comparisons are between integers, so the result is bit-equal on every
device. A placement (spans, words) takes the part of word 0, and nothing else.

Overlapping tokens (k-mers whose stride is below k) leak a masked base through their neighbours. There, masking works
on *anchors*: tokens ``anchor_stride = ceil(k / stride)`` apart, so that no two anchors share a base. A masked anchor
hides every token that touches one of its bases, and only anchors are predicted: each hidden base is predicted once,
and no visible token holds one. The first anchor of a sample is drawn at random. Without overlap ``anchor_stride`` is
1 and every token is an anchor.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dnar2mae.batch import Source
from dnar2mae.config import MaskConfig
from dnar2mae.mask_laws import Intervals, interval
from dnar2mae.masking.placement import Draw, Placement, Spans, Suffix
from dnar2mae.random import MASK32, Stream, draw, scale, threshold
from dnar2mae.tokenizers.vocabulary import Vocabulary

RATIO = 0.15
"""Mask ratio of the validation loss."""
# of the masks of every validation: not the run's seed, so that several runs are validated on the same masks
_EVALUATION_SEED = 0x7A1DA7E
# 2**32 over the golden ratio: of all steps the one whose multiples, modulo 1, lie apart most evenly
_GOLDEN = 0x9E3779B9
KEEP, RANDOM, MASK = 0, 1, 2
"""What happens to a masked token, weakest first: where two masked anchors touch a token the strongest wins."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskPlan:
    """Everything that decides one step's masks, as plain integers, which the GPU kernel takes."""

    seed: int
    """64-bit key of all draws."""
    intervals: Intervals
    """Ratio intervals as (low, span) in units of 2**-32; for each sample one is chosen at random, then a ratio in it.
    A ratio that the batch shares is a single interval of zero length."""
    mask_below: int
    """A masked token becomes [MASK] if word 1 is below this."""
    random_below: int
    """... else a random real token if word 1 is below this, else it stays."""
    mask_id: int
    """Token id of [MASK]."""
    real_ids: tuple[int, int]
    """First id and number of the real tokens, from which random replacements are drawn."""
    anchor_stride: int = 1
    """Distance between anchors in tokens; above 1 for overlapping tokens."""
    placement: Placement | None = None
    """Spans, words or suffixes; None: each token by itself, which is all that the GPU kernel knows."""
    rotation: int | None = None
    """Samples take ratios spread evenly over the intervals, instead of drawn ones: sample i the quantile
    ``rotation / 2**32 + i / golden ratio`` modulo 1, so that any few neighbours cover the law. None: drawn."""
    complement: bool = False
    """Mask exactly what the plan without this leaves visible: its antithetic twin, at 1 minus the ratio."""

    @property
    def fits_kernels(self) -> bool:
        """Whether the GPU kernels can draw it: each token by itself, at a ratio that is drawn or shared."""
        return self.placement is None and self.rotation is None and not self.complement

    @property
    def shared_threshold(self) -> int | None:
        """The mask ratio of every sample in units of 2**-32; None where each sample draws its own."""
        (low, span), *others = self.intervals
        return None if others or span else low

    def at_ratio(self, ratio: float, seed: int) -> "MaskPlan":
        """Return the plan at one fixed ratio under another seed, each token by itself, as evaluation uses it."""
        return self._evaluated((interval(ratio, ratio),), seed)

    def between(self, low: float, high: float, seed: int) -> "MaskPlan":
        """Return the plan at a ratio that each sample draws between two, each token by itself."""
        return self._evaluated((interval(low, high),), seed)

    def _evaluated(self, intervals: Intervals, seed: int) -> "MaskPlan":
        shown = replace(self, mask_below=2**32, random_below=2**32)
        return replace(shown, seed=seed, intervals=intervals, placement=None, rotation=None, complement=False)


def fixed_masks(plan: MaskPlan, ratio: float = RATIO) -> MaskPlan:
    """Return the plan of every validation at this ratio, whatever the run's law and seed."""
    return plan.at_ratio(ratio, _EVALUATION_SEED)


def plans_of_bound(plan: MaskPlan, pairs: int) -> list[MaskPlan]:
    """Return plans under which each sample has ``pairs`` pairs of masks, a ratio in each of 2 ``pairs`` equal strata.

    The masks of a pair are antithetic: one masks the tokens whose uniform number u is below a ratio r, the other those
    with 1 - u below 1 - r, which are all others. Each token is masked exactly once in a pair, and where one ratio is
    high the other is low. Ratios and masks depend on the sample alone.
    """
    strata = [(pair / (2 * pairs), (pair + 1) / (2 * pairs), _EVALUATION_SEED + 1 + pair) for pair in range(pairs)]
    lower = [plan.between(*stratum) for stratum in strata]
    return [part for low in lower for part in (low, replace(low, complement=True))]


class Masker:
    """The mask plans of a run, one for each training step.

    Parameters
    ----------
    config
        Law, ratios and replacement shares.
    vocabulary
        Has the ids of [MASK] and of the real tokens.
    seed
        Run seed.
    total_steps
        Length of the run, used by scheduled laws.
    source
        Training samples, on which the placement ``pmi`` counts words.

    Raises
    ------
    ConfigError
        If the placement does not suit the tokens.
    """

    def __init__(
        self, config: MaskConfig, vocabulary: Vocabulary, seed: int, total_steps: int, source: Source | None = None
    ) -> None:
        self.config, self.vocabulary = config, vocabulary
        self.seed, self.total_steps = seed, total_steps
        self._law = config.ratio_law()
        self._placement: Placement | None = None
        if config.placement == "spans":
            self._placement = Spans.geometric(config.span_mean, config.span_max)
        elif config.placement == "suffix":
            self._placement = Suffix()
        elif config.placement == "pmi":
            from dnar2mae.masking.words import words_by_information

            assert source is not None, "words are counted on training samples"
            self._placement = words_by_information(config, vocabulary, source)

    @cached_property
    def expected_share(self) -> float:
        """Share of the maskable tokens that a step predicts, on average over the law and the run."""
        return self._law.mean_in_run(self.total_steps) / self.vocabulary.anchor_stride

    def plan(self, step: int) -> MaskPlan:
        """Return the plan of a step (0-based); a ratio that the batch shares is drawn here, at the step's number."""
        to_mask, to_random, _ = self.config.replace
        intervals = self._law.intervals(step, self.total_steps)
        rotation = None
        if self.config.per == "batch":
            intervals = ((_drawn_threshold(self.seed, intervals, step), 0),)
        elif self.config.per == "stratified":
            rotation = int(draw(self.seed, Stream.RATIO, step)[0])
        return MaskPlan(
            seed=self.seed,
            intervals=intervals,
            rotation=rotation,
            mask_below=_below(to_mask),
            random_below=_below(to_mask + to_random),
            mask_id=self.vocabulary.mask_id,
            real_ids=(self.vocabulary.first_real, self.vocabulary.num_real),
            anchor_stride=self.vocabulary.anchor_stride,
            placement=self._placement,
        )

    def importance(self, plan: MaskPlan, step: int, sample_ids: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Return 1 over the law's density at the ratio of each sample of a step."""
        drawn = draw_threshold(plan, sample_ids)
        intervals = self._law.intervals(step, self.total_steps)
        # each interval has the same probability, so that a wide one has a low density; none contains its end
        spans = torch.stack([((drawn >= low) & (drawn < low + span)) * span for low, span in intervals]).sum(0)
        return (spans * len(intervals)).float() / 2**32


def _below(probability: float) -> int:
    # a threshold is at most 2**32 - 1, which the largest word is not below
    return 2**32 if probability >= 1 else threshold(probability)


def _drawn_threshold(seed: int, intervals: Intervals, where: Any) -> Any:
    """Draw a ratio in units of 2**-32 at a step or sample index: an integer, or an array or tensor of them."""
    within, which, _, _ = draw(seed, Stream.RATIO, where)
    return _threshold_in(intervals, scale(which, len(intervals)), within)


def _threshold_in(intervals: Intervals, chosen: Any, within: Any) -> Any:
    """Return the threshold at a 32-bit share ``within`` the chosen intervals."""
    # a sum instead of an index: the choice may be a number, an array or a tensor, and only one term is not 0
    return sum((chosen == i) * (low + scale(within, span)) for i, (low, span) in enumerate(intervals))


def _thresholds(plan: MaskPlan, where: Any) -> Any:
    """Return the mask ratios of samples whose plan shares none, in units of 2**-32."""
    if plan.rotation is None:
        return _drawn_threshold(plan.seed, plan.intervals, where)
    # 31 bits of the index, whose product with a 32-bit word fits a signed 64-bit one
    quantile = (plan.rotation + (where & 0x7FFFFFFF) * _GOLDEN) & MASK32
    number = len(plan.intervals)
    return _threshold_in(plan.intervals, scale(quantile, number), quantile * number & MASK32)


def draw_threshold(plan: MaskPlan, sample_ids: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
    """Return the mask ratio of each sample in units of 2**-32: a token is masked if its word 0 is below it."""
    if plan.shared_threshold is not None:
        return torch.full_like(sample_ids, plan.shared_threshold)
    return _thresholds(plan, sample_ids)


def draw_ratio(plan: MaskPlan, sample_ids: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Return the mask ratio of each sample as a double in (0, 1)."""
    return draw_threshold(plan, sample_ids).double() / 2**32


def mean_drawn_ratio(plan: MaskPlan, sample_ids: range) -> float:
    """Return the mean mask ratio of samples, without a tensor operation."""
    if plan.shared_threshold is not None:
        return plan.shared_threshold / 2**32
    return float(_thresholds(plan, np.array(sample_ids)).mean()) / 2**32


def corrupt(
    plan: MaskPlan, tokens: Int[Tensor, "B T"], maskable: Bool[Tensor, "B T"], sample_ids: Int[Tensor, " B"]
) -> tuple[Int[Tensor, "B T"], Bool[Tensor, "B T"]]:
    """Draw the mask of a batch and replace the masked tokens.

    Parameters
    ----------
    plan
        The step's plan.
    tokens
        Token ids.
    maskable
        Which tokens may be masked (real tokens: no padding, no [UNK]).
    sample_ids
        Index of each sample in the run, >= 0, ``int64``.

    Returns
    -------
    inputs
        What the encoder sees, in the dtype of ``tokens``.
    predicted
        Tokens to predict: masked anchors. Some of them show a random token or the true one.
    """
    position = torch.arange(tokens.shape[1], device=tokens.device)
    choose, kind, pick, _ = draw(plan.seed, Stream.MASK, sample_ids[:, None], position)
    if plan.placement is None:
        masked = ((choose < draw_threshold(plan, sample_ids)[:, None]) ^ plan.complement) & maskable
    else:
        ratio = draw_ratio(plan, sample_ids)
        drawn = Draw(
            seed=plan.seed,
            anchor_stride=plan.anchor_stride,
            ratio=ratio,
            tokens=tokens,
            maskable=maskable,
            sample_ids=sample_ids,
        )
        masked = plan.placement.masked(drawn) & maskable
    action = torch.where(kind < plan.mask_below, MASK, torch.where(kind < plan.random_below, RANDOM, KEEP))
    if plan.anchor_stride > 1:
        masked, action, predicted = _spread(plan, masked, action, sample_ids)
        masked = masked & maskable
    else:
        predicted = masked
    first, count = plan.real_ids
    random_token = (first + scale(pick, count)).to(tokens.dtype)
    shown = torch.where(action == MASK, torch.full_like(tokens, plan.mask_id), random_token)
    return torch.where(masked & (action > KEEP), shown, tokens), predicted


def hidden_tokens(
    plan: MaskPlan, tokens: Int[Tensor, "B T"], maskable: Bool[Tensor, "B T"], sample_ids: Int[Tensor, " B"]
) -> tuple[Bool[Tensor, "B T"], Bool[Tensor, "B T"]]:
    """Return which tokens a plan hides, and which are to be predicted.

    Hidden is what :func:`dnar2mae.masking.corrupt` would show as [MASK] if it replaced nothing by anything else:
    masked tokens, and those that share a base with one.
    """
    # -1 is no token's id, so that it marks what was hidden
    replaces_all = replace(plan, mask_below=2**32, random_below=2**32, mask_id=-1)
    inputs, predicted = corrupt(replaces_all, tokens.long(), maskable, sample_ids.long())
    return inputs == -1, predicted


def _spread(
    plan: MaskPlan, masked: Bool[Tensor, "B T"], action: Int[Tensor, "B T"], sample_ids: Int[Tensor, " B"]
) -> tuple[Bool[Tensor, "B T"], Int[Tensor, "B T"], Bool[Tensor, "B T"]]:
    """Carry the choices of the anchors to all tokens that share a base with them."""
    length = masked.shape[1]
    position = torch.arange(length, device=masked.device)
    phase = scale(draw(plan.seed, Stream.SPAN, sample_ids)[0], plan.anchor_stride)[:, None]
    behind = (position - phase) % plan.anchor_stride
    before, after = position - behind, position - behind + plan.anchor_stride
    is_anchor = behind == 0
    # a token shares bases with the anchor before it and the one after it, an anchor with itself alone; 0: not masked
    strength = torch.where(masked, action + 1, 0)
    left = torch.where(before >= 0, strength.gather(1, before.clamp(min=0)), 0)
    right = torch.where((after < length) & ~is_anchor, strength.gather(1, after.clamp(max=length - 1)), 0)
    strongest = torch.maximum(left, right)
    return strongest > 0, strongest - 1, masked & is_anchor
