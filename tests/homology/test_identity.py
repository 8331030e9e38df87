import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.homology import identity
from dnar2mae.homology.identity import _align, identity_of
from dnar2mae.homology.letters import reverse_complement

from .planted import mutated, random_sequences


def edits(part, text):
    """Fewest edits of a part anywhere in a text, by the recurrence."""
    row = np.zeros(len(text) + 1, int)
    for letter in part:
        new = [row[0] + 1]
        for j, other in enumerate(text):
            equal = letter == other and letter != "N"
            new.append(min(row[j] + (not equal), row[j + 1] + 1, new[-1] + 1))
        row = np.array(new)
    return row.min()


def by_definition(short, long):
    overhang = math.floor(len(short) / 5) // 2
    size = len(short) - 2 * overhang
    return max(1 - edits(short[i : i + size], long) / size for i in (0, overhang, 2 * overhang))


@given(st.text("ACGTN", min_size=1, max_size=30), st.text("ACGTN", min_size=1, max_size=30))
def test_it_is_what_it_is_defined_as(first, second):
    short, long = sorted((first, second), key=len)
    value = by_definition(short, long)
    assert identity_of(short, long) == identity_of(short, long, value) == pytest.approx(value, abs=1e-12)
    assert identity_of(short, long, value + 0.001) == 0


@given(st.text("ACGT", min_size=9, max_size=12), st.text("ACGT", min_size=9, max_size=12))
def test_it_is_the_same_for_any_order_and_strands(first, second):
    value = identity(first, second)
    assert identity(second, first) == identity(first, reverse_complement(second)) == value
    assert identity(reverse_complement(first), second) == value


def test_windows_that_share_four_fifths_are_identical():
    (genome,) = random_sequences(0, 1, 200)
    assert identity(genome[:100], genome[20:120]) == identity(genome[:100], reverse_complement(genome[20:120])) == 1
    assert identity(genome[30:80], genome) == 1
    assert identity(genome[:100], genome[60:160]) < 0.8


def test_edits_count_by_the_part_that_is_aligned():
    (sequence,) = random_sequences(1, 1, 100)
    changed = mutated(sequence[10:90], 0.9, 2, indels=False)  # the middle part is that without changes around it
    assert identity(sequence, sequence[:10] + changed + sequence[90:]) >= 0.9
    assert identity("A" * 50, "N" * 50) == identity("N" * 50, "N" * 50) == 0
    assert identity("acgu" * 10, "ACGT" * 10) == 1


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "edlib", None)
    _align.cache_clear()
    with pytest.raises(ConfigError, match=r"needs the package edlib: pip install 'dnar2mae\[homology\]'"):
        identity("ACGT", "ACGT")


def test_letters_that_are_no_bases():
    with pytest.raises(SequenceError, match="row 2, position 3: expected a nucleotide letter, got 'E'"):
        identity("ACGT", "ACEG")
    with pytest.raises(SequenceError, match="row 1: the sequence is empty"):
        identity("", "ACEG")
