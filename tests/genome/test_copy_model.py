import math

import numpy as np
import pytest
from scipy.special import betaln

from dnar2mae.genome import copies
from dnar2mae.genome.copies import CopyModel
from dnar2mae.genome.masked_bases import MaskedBases

REACH, A, B, COPIED = 32, 10.0, 0.3, 0.1


def masked(codes, hidden, size=1):
    """Hide stretches of ``size`` bases that begin at these places of each window."""
    shown, targets = codes.copy(), []
    for row, starts in enumerate(hidden):
        for start in starts:
            shown[row, start : start + size] = 4
            targets += [row * codes.shape[1] + start + j for j in range(size)]
    earlier = np.tile(np.arange(size), sum(map(len, hidden)))
    return MaskedBases(codes, shown, np.array(targets, np.int64), earlier)


def by_hand(codes, training, hidden, probability, size=1):
    """Compare every place of the training bases that shares a whole visible word with the window, one by one."""
    num = int((training < 4).sum())
    word = math.ceil(math.log(num, 4)) + 1
    masks, out, number = masked(codes, hidden, size), [], 0
    for row, starts in enumerate(hidden):
        window, shown, length = codes[row], masks.shown[row], codes.shape[1]
        there = {}
        for place in range(1 - length, len(training)):
            letters = np.array([training[place + i] if 0 <= place + i < len(training) else 4 for i in range(length)])
            same = (letters == shown) & (letters < 4)
            if any(same[i : i + word].all() for i in range(length - word + 1)):
                there[place] = letters, same
        for start in starts:
            above, below = probability[number], 1.0
            for letters, same in there.values():
                if (letters[start : start + size] == 4).any():
                    continue
                near = slice(max(start - REACH, 0), start + REACH + 1)
                m = int(same[near].sum())
                u = int(((shown < 4) & (letters < 4))[near].sum()) - m
                log = betaln(m + A, u + B) - betaln(A, B) + m * math.log(4) + u * math.log(4 / 3)
                weight, share = math.exp(log) * COPIED / num, (m + A) / (m + u + A + B)
                each = [share if letters[i] == window[i] else (1 - share) / 3 for i in range(start, start + size)]
                above, below = above + weight * math.prod(each), below + weight
            out.append(above / below)
            number += 1
    return np.array(out)


def planted(rng, length=400, window=60):
    training = rng.integers(0, 4, length).astype(np.uint8)
    training[rng.integers(0, length, 3)] = 4
    codes = rng.integers(0, 4, (3, window)).astype(np.uint8)
    start = rng.integers(0, length - window)
    codes[0] = training[start : start + window]
    codes[1, 25:] = training[: window - 25]
    flips = rng.integers(0, window, 4)
    codes[0, flips] = (codes[0, flips] + 1) % 4
    codes[codes > 4] = 4
    return codes, training


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_formula(seed, size):
    rng = np.random.default_rng(seed)
    codes, training = planted(rng)
    codes[0][codes[0] == 4] = 0
    hidden = [np.sort(rng.choice(np.arange(0, 57, size), 6, replace=False)) for _ in codes]
    probability = rng.uniform(0.01, 0.99, 18)
    found = CopyModel(codes, training).mixed(probability, np.arange(3), masked(codes, hidden, size))
    assert np.allclose(found, by_hand(codes, training, hidden, probability, size), rtol=2e-5)


def test_the_four_bases_sum_to_one():
    rng = np.random.default_rng(1)
    codes, training = planted(rng)
    codes = codes[:1]
    own = rng.dirichlet(np.ones(4))
    sums = 0.0
    for letter in range(4):
        codes[0, 30] = letter
        sums += CopyModel(codes, training).mixed(own[[letter]], np.zeros(1, int), masked(codes, [[30]]))[0]
    assert sums == pytest.approx(1)


def test_a_hidden_base_is_read_off_its_copy_and_only_what_is_visible_counts():
    rng = np.random.default_rng(2)
    training = rng.integers(0, 4, 5000).astype(np.uint8)
    codes = training[None, 1000:1100].copy()
    model = CopyModel(codes, training)
    assert model.mixed(np.full(1, 0.25), np.zeros(1, int), masked(codes, [[50]]))[0] > 0.99
    everything = masked(codes, [np.arange(100)])
    assert np.array_equal(model.mixed(np.full(100, 0.25), np.zeros(1, int), everything), np.full(100, 0.25))
    # what lies under the masks is not looked at: another letter there has what the right one leaves
    other = codes.copy()
    other[0, 50] = (other[0, 50] + 1) % 4
    assert CopyModel(other, training).mixed(np.full(1, 0.25), np.zeros(1, int), masked(other, [[50]]))[0] < 0.01


def test_windows_are_scored_alike_alone_and_together_in_any_order(monkeypatch):
    rng = np.random.default_rng(3)
    codes, training = planted(rng)
    codes = np.concatenate([codes, codes[::-1]])
    hidden = [np.sort(rng.choice(60, 9, replace=False)) for _ in codes]
    model, probability = CopyModel(codes, training), rng.uniform(0.1, 0.9, 54)
    together = model.mixed(probability, np.arange(6), masked(codes, hidden))
    for row in (5, 0, 3):
        part = slice(9 * row, 9 * row + 9)
        alone = model.mixed(probability[part], np.array([row]), masked(codes[[row]], [hidden[row]]))
        assert np.allclose(alone, together[part])
    monkeypatch.setattr(copies, "_CELLS", 1)
    assert np.allclose(model.mixed(probability, np.arange(6), masked(codes, hidden)), together)


@pytest.mark.parametrize("training", [np.empty(0, np.uint8), np.full(50, 4, np.uint8), np.zeros(3, np.uint8)])
def test_where_there_is_nothing_to_look_up_the_model_stays(training):
    codes = np.random.default_rng(4).integers(1, 4, (2, 40)).astype(np.uint8)
    probability = np.array([0.3, 0.6])
    found = CopyModel(codes, training).mixed(probability, np.arange(2), masked(codes, [[3], [39]]))
    assert np.array_equal(found, probability)


def test_of_a_word_that_occurs_everywhere_few_places_are_compared():
    training = np.tile(np.array([0, 1, 2], np.uint8), 4000)
    codes = training[None, :50].copy()
    model = CopyModel(codes, training)
    assert len(model._row) <= 44 * 64
    assert model.mixed(np.full(1, 0.25), np.zeros(1, int), masked(codes, [[25]]))[0] > 0.99
