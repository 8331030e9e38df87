"""Where masked tokens lie: in spans, on informative words or at the end, instead of each by itself.

A placement is independent of the law: the law draws a sample's ratio r, and the placement masks tokens so that a
token's probability of being masked is r (spans: every token's; words: the sample's mean). Both are coverage
processes. Whether a span or word starts at a position is drawn from Philox at ``(seed, SPAN, sample, 1 + position)``,
and a token is masked if one that has started covers it. Lengths count tokens that share no base (``anchor_stride``
apart).

Powers are doubles: between two devices a threshold may differ in the last of its 32 bits, which changes about one
choice in 2**50.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dnar2mae.random import Stream, draw


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Draw:
    """The samples that a placement masks."""

    seed: int
    """64-bit key of all draws."""
    anchor_stride: int
    """Distance of tokens that share no base."""
    ratio: Float[Tensor, " B"]
    """Mask ratio of each sample, double, in (0, 1)."""
    tokens: Int[Tensor, "B T"]
    maskable: Bool[Tensor, "B T"]
    sample_ids: Int[Tensor, " B"]

    def words(self, before: int = 0) -> Int[Tensor, "B S"]:
        """Draw a 32-bit word for each position of the samples and of ``before`` positions to their left."""
        # from 1 on: position 0 of this stream places the first anchor
        position = torch.arange(1, 1 + before + self.tokens.shape[1], device=self.tokens.device)
        return draw(self.seed, Stream.SPAN, self.sample_ids[:, None], position)[0]


@runtime_checkable
class Placement(Protocol):
    """Rule that decides which tokens are masked at a given ratio."""

    def masked(self, drawn: Draw) -> Bool[Tensor, "B T"]:
        """Choose the masked tokens; those that are not maskable are left out by the caller."""


@dataclass(frozen=True, slots=True)
class Spans:
    r"""Contiguous spans of geometric length, as SpanBERT's.

    With :math:`W_k = P(L > k) / E[L]` the longest span that starts at a position is longer than k with probability
    :math:`1 - (1 - r)^{W_k}`. A token is visible if for every k the start k tokens before it is not longer than k:
    the product over k is :math:`(1 - r)^{\sum_k W_k} = 1 - r`, exactly, also at the edges of a sample, where spans
    begin outside.

    References
    ----------
    .. [1] Joshi et al., "SpanBERT", arXiv 1907.10529 (which fills a budget, where this draws a coverage).
    """

    shares: tuple[float, ...]
    """W_k for k = 0 .. longest - 1; they sum to 1."""

    @classmethod
    def geometric(cls, mean: float, longest: int) -> "Spans":
        """Return spans of lengths min(L, longest), L geometric with this mean."""
        tail = [(1 - 1 / mean) ** k for k in range(longest)]
        return cls(tuple(t / sum(tail) for t in tail))

    @property
    def reach(self) -> int:
        """Longest span, less the token itself."""
        return len(self.shares) - 1

    def masked(self, drawn: Draw) -> Bool[Tensor, "B T"]:
        """Cover the tokens by spans."""
        length, before = drawn.tokens.shape[1], self.reach * drawn.anchor_stride
        start = drawn.words(before)
        masked = torch.zeros_like(drawn.maskable)
        for k, share in enumerate(self.shares):
            # one word decides for all k, as the span that starts at its position has one length
            longer = start >= ((1 - drawn.ratio) ** share * 2**32).long()[:, None]
            first = before - k * drawn.anchor_stride
            masked |= longer[:, first : first + length]
        return masked


@dataclass(frozen=True, slots=True)
class Suffix:
    """The end of a sample: with n maskable tokens the last ``n r`` of them, rounded up or down at random.

    A token's own probability grows from 0 at the start to 1 at the end; the sample's mean is r.
    """

    def masked(self, drawn: Draw) -> Bool[Tensor, "B T"]:
        """Mask the tokens from a position on."""
        word = draw(drawn.seed, Stream.SPAN, drawn.sample_ids, 1)[0].double() / 2**32
        number = drawn.maskable.sum(1)
        kept = number - (number * drawn.ratio + word).long()
        return drawn.maskable.cumsum(1) > kept[:, None]


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """Words (runs of n tokens) of high pointwise mutual information, as GeneMask masks them.

    Every position is a mask centre with probability f. A centre masks the word of the highest rank among the n words
    that contain it, or itself alone where each of these leaves the sample or holds a token that is not maskable. With
    N_t centres whose word covers token t, it is visible with probability (1 - f)^{N_t}; f is solved for in each
    sample, so that the mean of that over the maskable tokens is 1 - r.

    References
    ----------
    .. [1] Roy et al., "GeneMask", arXiv 2307.15933.
    """

    ranks: Int[Tensor, " W"]
    """Rank of each word, its tokens read as digits (first token the highest), ``int64``."""
    length: int
    """Tokens of a word, n."""
    first_real: int
    num_real: int
    """Ids of the real tokens."""

    def masked(self, drawn: Draw) -> Bool[Tensor, "B T"]:
        """Cover the tokens by the words of the centres."""
        offset = self._offset(drawn)
        covering = torch.zeros_like(drawn.tokens, dtype=torch.int64)
        masked = torch.zeros_like(drawn.maskable)
        covers = []
        # how many centres cover each token must be known before f is, and f before any centre is drawn: so first all
        # positions are taken for centres, by their distance to the token that they would mask
        for distance in range(1 - self.length, self.length):
            index = offset + distance
            inside = drawn.maskable & (offset >= 0) & (index >= 0) & (index < self.length)
            alone = drawn.maskable & (offset < 0) if distance == 0 else torch.zeros_like(inside)
            covers.append((distance * drawn.anchor_stride, inside | alone))
            covering += _shift(covers[-1][1], covers[-1][0]).long()
        centre = drawn.words() < (self._centres(drawn, covering) * 2**32).long()[:, None]
        for shift, cover in covers:
            masked |= _shift(cover & centre, shift)
        return masked

    def _offset(self, drawn: Draw) -> Int[Tensor, "B T"]:
        """Return the index of each centre in the best word that contains it; -1 where there is none."""
        word = torch.zeros_like(drawn.tokens, dtype=torch.int64)
        whole = torch.ones_like(drawn.maskable)
        for index in range(self.length):
            # of tokens that are not real any digit will do: their words are not whole
            digit = (drawn.tokens.long() - self.first_real).clamp(0, self.num_real - 1)
            word = word * self.num_real + _shift(digit, -index * drawn.anchor_stride)
            whole &= _shift(drawn.maskable, -index * drawn.anchor_stride)
        # by first token; 0 where no whole word starts
        rank = torch.where(whole, self.ranks.to(word.device)[word] + 1, 0)
        best, offset = torch.zeros_like(rank), torch.full_like(rank, -1)
        for index in range(self.length):
            here = _shift(rank, index * drawn.anchor_stride)
            offset = torch.where(here > best, index, offset)
            best = torch.maximum(best, here)
        return offset

    def _centres(self, drawn: Draw, covering: Int[Tensor, "B T"]) -> Float[Tensor, " B"]:
        """Solve for the probability f of a centre, by bisection."""
        # at most 2n - 1 centres cover a token: the last count is free for tokens that are not maskable, and cut off
        most = 2 * self.length
        count = torch.where(drawn.maskable, covering, most)
        times = torch.zeros(len(count), most + 1, dtype=torch.float64, device=count.device)
        times = times.scatter_add(1, count, torch.ones_like(count, dtype=torch.float64))[:, :most]
        share = times / times.sum(1, keepdim=True).clamp(min=1)
        power = torch.arange(most, device=count.device, dtype=torch.float64)
        low, high = torch.zeros_like(drawn.ratio), torch.ones_like(drawn.ratio)
        # to 2**-40, finer than the 2**-32 of a word
        for _ in range(40):
            middle = (low + high) / 2
            visible = (share * (1 - middle[:, None]) ** power).sum(1)
            low, high = (
                torch.where(visible > 1 - drawn.ratio, middle, low),
                torch.where(visible > 1 - drawn.ratio, high, middle),
            )
        return low


def _shift(x: Tensor, by: int) -> Tensor:
    """Move columns to the right (left if negative), zeros coming in."""
    moved = torch.zeros_like(x)
    length = x.shape[1]
    if abs(by) < length:
        moved[:, max(by, 0) : length + min(by, 0)] = x[:, max(-by, 0) : length - max(by, 0)]
    return moved
