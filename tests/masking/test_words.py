"""Words by information and the masks of their centres, against loops over places."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from dnar2mae.batch import Batch
from dnar2mae.config import MaskConfig
from dnar2mae.masking.placement import Draw, Words
from dnar2mae.masking.words import words_by_information
from dnar2mae.random import Stream, draw
from dnar2mae.tokenizers import KmerTokenizer

FIRST_REAL, NUM_REAL = 4, 3


def covered(words, stride, tokens, maskable, centre):
    """The places that a centre masks: of the word of the highest rank that contains it, or itself alone."""
    best, places = -1, [centre]
    for before in range(words.length):
        word = [centre + (index - before) * stride for index in range(words.length)]
        if word[0] < 0 or word[-1] >= len(tokens) or not all(maskable[place] for place in word):
            continue
        digits = [tokens[place] - FIRST_REAL for place in word]
        rank = words.ranks[sum(digit * NUM_REAL**power for power, digit in enumerate(reversed(digits)))].item()
        if rank > best:
            best, places = rank, word
    return places


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("length", [2, 3])
def test_a_centre_masks_the_best_word_that_contains_it(stride, length):
    rng = np.random.default_rng(length)
    words = Words(torch.from_numpy(rng.permutation(NUM_REAL**length)), length, FIRST_REAL, NUM_REAL)
    tokens = rng.integers(FIRST_REAL, FIRST_REAL + NUM_REAL, (6, 25))
    maskable, ids = rng.random(tokens.shape) > 0.1, np.arange(2**33, 2**33 + 6)
    maskable[5] = False
    tokens[~maskable] = rng.choice([0, 2, 99], (~maskable).sum())  # ids that no word has
    ratios = np.array([0.05, 0.3, 0.5, 0.7, 0.95, 0.5])
    drawn = Draw(
        seed=11,
        anchor_stride=stride,
        ratio=torch.from_numpy(ratios),
        tokens=torch.from_numpy(tokens.astype(np.int32)),
        maskable=torch.from_numpy(maskable),
        sample_ids=torch.from_numpy(ids),
    )
    masked = words.masked(drawn)
    assert not masked[5].any()
    for row in range(5):
        covers = {
            place: covered(words, stride, tokens[row], maskable[row], place) for place in maskable[row].nonzero()[0]
        }
        number = Counter(place for cover in covers.values() for place in cover)
        covering = np.array([number[place] for place in covers])
        centre = brentq(lambda f, n=covering, r=ratios[row]: np.mean((1 - f) ** n) - (1 - r), 0, 1, xtol=1e-13)
        chosen = [p for p in covers if draw(11, Stream.SPAN, int(ids[row]), 1 + int(p))[0] < centre * 2**32]
        assert masked[row].nonzero().squeeze(1).tolist() == sorted({place for p in chosen for place in covers[p]})


def test_a_token_that_is_alone_is_masked_at_the_ratio():
    words = Words(torch.arange(9), 2, FIRST_REAL, NUM_REAL)
    tokens = torch.full((2000, 1), FIRST_REAL)
    drawn = Draw(
        seed=1,
        anchor_stride=1,
        ratio=torch.full((2000,), 0.5, dtype=torch.float64),
        tokens=tokens,
        maskable=tokens >= FIRST_REAL,
        sample_ids=torch.arange(2000),
    )
    assert words.masked(drawn).double().mean().item() == pytest.approx(0.5, abs=0.04)


class Few:
    """A few samples over and over; notes which were asked for."""

    def __init__(self, tokenizer, codes):
        self.tokens, self.first_real = torch.from_numpy(tokenizer.encode(codes)), tokenizer.vocabulary.first_real
        self.asked = []

    def batch(self, ids):
        self.asked += ids.tolist()
        tokens = self.tokens[ids % len(self.tokens)]
        return Batch(tokens, tokens >= self.first_real, torch.ones(tokens.shape), torch.from_numpy(ids))


@pytest.mark.parametrize(("k", "stride", "length_bp"), [(1, 1, 3), (2, 1, 4), (2, 2, 4)])
def test_words_are_ranked_by_their_counts_in_the_first_samples(k, stride, length_bp):
    tokenizer = KmerTokenizer(k, stride)
    codes = np.random.default_rng(0).choice(4, (64, 40), p=[0.5, 0.3, 0.15, 0.05]).astype(np.uint8)
    codes[::5, ::9] = 4
    source = Few(tokenizer, codes)
    words = words_by_information(MaskConfig(placement="pmi", pmi_length=length_bp), tokenizer.vocabulary, source)
    assert source.asked[1:] == list(range(8192))  # after the one that shows whether tokens carry values
    assert (words.length, words.first_real, words.num_real) == (length_bp // k, 4, 4**k)
    texts = ["".join("ACGTN"[code] for code in row) for row in codes]

    def counts(size):
        found = (text[at : at + size] for text in texts for at in range(0, 41 - size, stride))
        return Counter(part for part in found if "N" not in part)

    single, whole = counts(k), counts(length_bp)
    information = []
    for word in sorted(whole):
        joint = math.log(whole[word] / whole.total())
        alone = sum(math.log(single[word[at : at + k]] / single.total()) for at in range(0, length_bp, k))
        information.append((joint - alone) / -joint)
    every = [
        "".join("ACGT"[number >> 2 * place & 3] for place in reversed(range(length_bp)))
        for number in range(4**length_bp)
    ]
    ranks = words.ranks.numpy()
    assert sorted(ranks) == list(range(4**length_bp))
    absent = [rank for word, rank in zip(every, ranks, strict=True) if word not in whole]
    present = [rank for word, rank in zip(every, ranks, strict=True) if word in whole]
    assert absent == list(range(len(absent)))  # lowest, in their order
    assert np.diff(np.array(information)[np.argsort(present)]).min() > -1e-9
    assert np.ptp(information) > 0.1


def test_a_word_may_be_as_long_as_a_sample():
    tokenizer = KmerTokenizer()
    source = Few(tokenizer, np.array([[0, 1, 2], [0, 1, 0]], np.uint8))  # no T
    words = words_by_information(MaskConfig(placement="pmi", pmi_length=3), tokenizer.vocabulary, source)
    assert {words.ranks[4].item(), words.ranks[6].item()} == {62, 63}  # ACA and ACG
