import importlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .__main__ import TARGETS

_PIECES = st.one_of(
    st.binary(max_size=8),
    st.sampled_from(
        [b"\n", b"\r", b">", b"\t", b" ", b"\0", b"\xff", b"//\n", b"0", b"-1", b"99999999999", b"#", b":", b"N"]
    ),
)
_EDITS = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 30), _PIECES), max_size=6)


def edited(seed, edits):
    """Each edit replaces some bytes somewhere by others."""
    for place, length, piece in edits:
        start = place % (len(seed) + 1)
        seed = seed[:start] + piece + seed[start + length :]
    return seed


@pytest.mark.parametrize("name", TARGETS)
def test_a_clear_error_or_a_right_answer(name, tmp_path):
    target = importlib.import_module(f"tests.fuzz.{name}")
    for seed in target.SEEDS:
        target.check(seed, tmp_path)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(seed=st.sampled_from(target.SEEDS), edits=_EDITS)
    def check(seed, edits):
        target.check(edited(seed, edits), tmp_path)

    check()
