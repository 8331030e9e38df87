import numpy as np
import pytest
import torch

from dnar2mae.random import MASK32, Stream, draw, philox, scale, threshold, unit

KNOWN = [  # Random123, philox4x32-10: counter, key, words
    ((0, 0, 0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((MASK32,) * 4, 2**64 - 1, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0x299F31D0 << 32) | 0xA4093822,
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_known_answers(counter, key, words):
    assert philox(key, *counter) == words
    arrays = philox(key, *(np.array([c]) for c in counter))
    tensors = philox(key, *(torch.tensor([c]) for c in counter))
    assert tuple(int(w[0]) for w in arrays) == words
    assert tuple(w.item() for w in tensors) == words


def test_numpy_and_torch_agree_on_random_counters():
    counters = np.random.default_rng(0).integers(0, 2**32, (4, 10_000))
    for seed in (0, 1, 2**40 + 7, 2**63 - 1):
        for a, b in zip(philox(seed, *counters), philox(seed, *torch.tensor(counters)), strict=True):
            assert np.array_equal(a, b.numpy())


def test_words_are_uniform_and_streams_differ():
    ids = np.arange(1_000_000)
    for word in draw(3, Stream.MASK, ids):
        counts = np.bincount(scale(word, 64), minlength=64)
        chi2 = ((counts - ids.size / 64) ** 2 / (ids.size / 64)).sum()
        assert chi2 < 63 + 5 * np.sqrt(2 * 63)
    first, other = draw(3, Stream.MASK, ids)[0], draw(3, Stream.RATIO, ids)[0]
    assert abs(np.corrcoef(first, other)[0, 1]) < 5e-3


def test_high_half_of_the_sample_index_counts():
    low, high = draw(0, Stream.MASK, np.array([5])), draw(0, Stream.MASK, np.array([5 + 2**32]))
    assert low[0][0] != high[0][0]


def test_scale_threshold_and_unit_stay_in_range():
    extremes = np.array([0, MASK32])
    assert scale(extremes, 10).tolist() == [0, 9]
    assert threshold(0.5) == 2**31
    assert threshold(1.0) == MASK32
    assert unit(extremes, extremes).tolist() == [0.0, 1 - 2**-53]


def test_unit_takes_27_bits_of_one_word_and_26_of_the_other():
    words = np.array([31, 32, 63, 64])
    assert (unit(words, 0 * words) * 2**53).tolist() == [0, 2**26, 2**26, 2**27]
    assert (unit(0 * words, words) * 2**53).tolist() == [0, 0, 0, 1]


def test_a_sample_has_its_words_at_position_0():
    ids = np.arange(5)
    assert np.array_equal(draw(3, Stream.RATIO, ids), draw(3, Stream.RATIO, ids, 0))
    assert not np.array_equal(draw(3, Stream.RATIO, ids), draw(3, Stream.RATIO, ids, 1))


def test_compiled_code_draws_the_same():
    torch.compiler.reset()
    words = torch.arange(100)
    compiled = torch.compile(lambda c: draw(2**40 + 7, Stream.MASK, c), backend="eager", fullgraph=True)
    for a, b in zip(compiled(words), draw(2**40 + 7, Stream.MASK, words), strict=True):
        assert torch.equal(a, b)
