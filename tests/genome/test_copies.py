import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dnar2mae.genome.copies import COPIED_BP, copied


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.integers(40, 400), st.integers(0, 5))
def test_copies_are_those_that_a_search_of_the_text_finds(seed, length, unknown):
    rng = np.random.default_rng(seed)
    training = rng.integers(0, 4, length).astype(np.uint8)
    codes = rng.integers(0, 4, (2, 80)).astype(np.uint8)
    start = rng.integers(0, length - 39)
    codes[1, 20:60] = training[start : start + 40]
    codes[rng.integers(0, 2, unknown), rng.integers(0, 80, unknown)] = 4
    training[rng.integers(0, length, unknown)] = 4
    text = training.tobytes()
    stretches = np.lib.stride_tricks.sliding_window_view(codes, COPIED_BP, axis=1)
    expected = [[4 not in word and word.tobytes() in text for word in row] for row in stretches]
    assert np.array_equal(copied(codes, training), expected)


def test_a_copy_over_the_border_of_two_parts_is_found(monkeypatch):
    monkeypatch.setattr("dnar2mae.genome.copies._CHUNK_BP", 50)
    training = np.random.default_rng(0).integers(0, 4, 500).astype(np.uint8)
    assert copied(training[None], training).all()
    assert not copied(training[None, :40], training[:20]).any()
