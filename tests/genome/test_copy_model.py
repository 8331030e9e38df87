import math

import numpy as np
import pytest
from scipy.special import betaln

from dnar2mae.genome import copies
from dnar2mae.genome.alphabet import complement
from dnar2mae.genome.copies import CopyModel
from dnar2mae.genome.masked_bases import MaskedBases

REACH, A, B, COPIED = 32, 10.0, 0.3, 0.1
ONE = np.zeros(1, int)
EVEN = np.log(np.full(1, 0.25))


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
    counts = np.bincount(training, minlength=5)[:4]
    num, chance = int(counts.sum()), (counts + 1) / (counts.sum() + 4)
    word = math.ceil(math.log(num) / -math.log(sum(chance**2))) + 1
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
                near = range(max(start - REACH, 0), min(start + REACH + 1, length))
                m = sum(int(same[i]) for i in near)
                other = [i for i in near if shown[i] < 4 and letters[i] < 4 and not same[i]]
                log = betaln(m + A, len(other) + B) - betaln(A, B)
                log -= sum(math.log(chance[shown[i]]) for i in near if same[i])
                log -= sum(math.log(1 - chance[letters[i]]) for i in other)
                weight, share = math.exp(log) * COPIED / num, (m + A) / (m + len(other) + A + B)
                each = [share if letters[i] == window[i] else (1 - share) / 3 for i in range(start, start + size)]
                above, below = above + weight * math.prod(each), below + weight
            out.append(above / below)
            number += 1
    return np.array(out)


def planted(rng, length=400, window=60):
    training = rng.choice(4, length, p=[0.3, 0.2, 0.15, 0.35]).astype(np.uint8)
    training[rng.integers(0, length, 3)] = 4
    codes = rng.integers(0, 4, (3, window)).astype(np.uint8)
    start = rng.integers(0, length - window)
    codes[0] = training[start : start + window]
    codes[1, 25:] = training[: window - 25]
    flips = rng.integers(0, window, 4)
    codes[0, flips] = (codes[0, flips] + 1) % 4
    return codes, training


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_formula(seed, size):
    rng = np.random.default_rng(seed)
    codes, training = planted(rng)
    codes[0][codes[0] == 4] = 0
    hidden = [np.sort(rng.choice(np.arange(0, 57, size), 6, replace=False)) for _ in codes]
    probability = rng.uniform(0.01, 0.99, 18)
    found = CopyModel(codes, training).mixed(np.log(probability), np.arange(3), masked(codes, hidden, size))
    assert np.allclose(np.exp(found), by_hand(codes, training, hidden, probability, size), rtol=2e-5)


def test_the_four_bases_sum_to_one():
    rng = np.random.default_rng(1)
    codes, training = planted(rng)
    codes = codes[:1]
    own = rng.dirichlet(np.ones(4))
    sums = 0.0
    for letter in range(4):
        codes[0, 30] = letter
        sums += np.exp(CopyModel(codes, training).mixed(np.log(own[[letter]]), ONE, masked(codes, [[30]]))[0])
    assert sums == pytest.approx(1)


def test_a_hidden_base_is_read_off_its_copy_and_only_what_is_visible_counts():
    rng = np.random.default_rng(2)
    training = rng.integers(0, 4, 5000).astype(np.uint8)
    codes = training[None, 1000:1100].copy()
    model = CopyModel(codes, training)
    assert model.mixed(EVEN, ONE, masked(codes, [[50]]))[0] > math.log(0.99)
    everything = masked(codes, [np.arange(100)])
    assert np.array_equal(model.mixed(np.repeat(EVEN, 100), ONE, everything), np.repeat(EVEN, 100))
    # what lies under the masks is not looked at: another letter there has what the right one leaves
    other = codes.copy()
    other[0, 50] = (other[0, 50] + 1) % 4
    assert CopyModel(other, training).mixed(EVEN, ONE, masked(other, [[50]]))[0] < math.log(0.01)
    # a base that the model finds impossible is not infinitely unlikely with its copy, and as it was without
    assert model.mixed(np.array([-900.0]), ONE, masked(codes, [[50]]))[0] > math.log(0.98)
    assert CopyModel(codes[:, :9], training).mixed(np.array([-900.0]), ONE, masked(codes[:, :9], [[4]]))[0] == -900


def test_windows_are_scored_alike_alone_and_together_in_any_order(monkeypatch):
    rng = np.random.default_rng(3)
    codes, training = planted(rng)
    codes = np.concatenate([codes, codes[::-1]])
    hidden = [np.sort(rng.choice(60, 9, replace=False)) for _ in codes]
    model, log = CopyModel(codes, training), np.log(rng.uniform(0.1, 0.9, 54))
    together = model.mixed(log, np.arange(6), masked(codes, hidden))
    for row in (5, 0, 3):
        part = slice(9 * row, 9 * row + 9)
        alone = model.mixed(log[part], np.array([row]), masked(codes[[row]], [hidden[row]]))
        assert np.allclose(alone, together[part])
        twice = masked(codes[[row, row]], [hidden[row]] * 2)
        assert np.allclose(model.mixed(np.tile(log[part], 2), np.array([row, row]), twice), np.tile(alone, 2))
    monkeypatch.setattr(copies, "_CELLS", 1)
    assert np.allclose(model.mixed(log, np.arange(6), masked(codes, hidden)), together)


@pytest.mark.parametrize("training", [np.empty(0, np.uint8), np.full(50, 4, np.uint8), np.zeros(3, np.uint8)])
def test_where_there_is_nothing_to_look_up_the_model_stays(training):
    codes = np.random.default_rng(4).integers(1, 4, (2, 40)).astype(np.uint8)
    log = np.log(np.array([0.3, 0.6]))
    assert np.array_equal(CopyModel(codes, training).mixed(log, np.arange(2), masked(codes, [[3], [39]])), log)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_words_that_agree_by_chance_change_nothing(share):
    """Bases drawn one by one, whatever their frequencies, have no copies, and their source predicts them best."""
    rng = np.random.default_rng(5)
    frequency = np.array([share, 1 - share, 1 - share, share]) / 2
    draw = rng.choice(4, 210_000, p=frequency).astype(np.uint8)
    codes, own = draw[200_000:].reshape(20, 500), draw[:200_000]
    training = np.concatenate([own, complement(own[::-1])])
    hidden = [np.sort(rng.choice(500, 50, replace=False)) for _ in codes]
    masks = masked(codes, hidden)
    log = np.log(frequency)[codes.reshape(-1)[masks.targets]]
    found = CopyModel(codes, training).mixed(log, np.arange(20), masks)
    assert found.mean() == pytest.approx(log.mean(), abs=0.002)


@pytest.mark.parametrize("unit", [[0], [0, 1, 2], [3, 3, 3, 3, 3, 3, 3, 2]])
def test_of_a_word_that_occurs_everywhere_few_places_are_compared(unit):
    training = np.tile(np.array(unit, np.uint8), 4000)
    codes = training[None, :100].copy()
    model = CopyModel(codes, training)
    assert len(model._row) <= 100 * 16
    found = model.mixed(EVEN, ONE, masked(codes, [[50]]))[0]
    assert np.isfinite(found)
    assert found > EVEN[0] or len(unit) == 1  # with one letter alone nothing is evidence


def test_rare_letters_do_not_overflow():
    training = np.zeros(100_000, np.uint8)
    training[500:600] = 2
    codes = training[None, 500:600].copy()
    assert CopyModel(codes, training).mixed(EVEN, ONE, masked(codes, [[50]]))[0] > math.log(0.9)
