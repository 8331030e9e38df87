import math
from collections import Counter

import numpy as np
import pytest

from dnar2mae.genome import two_sided
from dnar2mae.genome.alphabet import decode
from dnar2mae.genome.fitted_bases import fitted_bases
from dnar2mae.genome.masked_bases import MaskedBases
from dnar2mae.genome.two_sided import TwoSidedCounts

from .helpers import genome_of, random_bases, with_n
from .test_markov import both_strands


def slow_bits(stretches, window, shown, place, earlier, reach):
    """Bits of one base by reach: the visible neighbours are looked up one by one, near to far, in all bases."""
    visible, chance, bits = [], 0.25, []
    for step in range(2 * reach + 1):
        if step:
            offset = -(step // 2 + 1) if step % 2 else step // 2
            at = place + offset
            if not 0 <= at < len(window):
                letter = "N"
            elif -earlier <= offset < 0:
                letter = window[at]
            else:
                letter = shown[at]
            if letter != "N":
                visible.append((offset, letter))
        if step == 0 or (letter != "N"):
            counts = Counter()
            for stretch in stretches:
                for i, centre in enumerate(stretch):
                    if centre != "N" and all(0 <= i + o < len(stretch) and stretch[i + o] == x for o, x in visible):
                        counts[centre] += 1
            if counts:
                kinds, total = len(counts), counts.total()
                chance = (counts[window[place]] + kinds * chance) / (total + kinds)
        if step and step % 2 == 0:
            bits.append(-math.log2(chance))
    return bits


@pytest.mark.parametrize(("chunk", "reach"), [(1, 4), (7, 4), (1 << 18, 4), (1 << 18, 5)])
def test_equals_dictionaries(tmp_path, monkeypatch, chunk, reach):
    monkeypatch.setattr(two_sided, "_CHUNK_BP", chunk)
    monkeypatch.setattr(two_sided, "_BASES_PER_CONTEXT", 32 if reach == 4 else 0)
    rng = np.random.default_rng(0)
    one, two = with_n(rng, 200, 3), random_bases(rng, 30, "ACGTacgt")
    genome = genome_of(tmp_path, one, two)
    windows = np.stack([genome.span(0, 40), genome.span(100, 140), genome.span(190, 230)]) & np.uint8(7)
    hidden = rng.random(windows.shape) < 0.4
    shown = np.where(hidden, 4, windows).astype(np.uint8)
    place = np.flatnonzero(hidden & (windows < 4))
    earlier = np.minimum(rng.integers(0, 3, len(place)), place % 40)
    got = TwoSidedCounts(fitted_bases([genome], [genome.intervals])).bits(MaskedBases(windows, shown, place, earlier))
    assert got.shape == (reach, len(place))
    letters, seen = [decode(x) for x in windows], [decode(x) for x in shown]
    stretches = both_strands(one, two)
    expected = [
        slow_bits(stretches, letters[at // 40], seen[at // 40], at % 40, before, reach)
        for at, before in zip(place.tolist(), earlier.tolist(), strict=True)
    ]
    np.testing.assert_allclose(got.T, expected, atol=1e-9)


def test_probabilities_of_the_four_letters_sum_to_one(tmp_path):
    rng = np.random.default_rng(2)
    genome = genome_of(tmp_path, random_bases(rng, 5000))
    counts = TwoSidedCounts(fitted_bases([genome], [genome.intervals]))
    shown = rng.integers(0, 5, (1, 30)).astype(np.uint8)
    place = np.array([3, 11, 20])
    shown[0, place] = 4
    total = np.zeros((4, 3))
    for letter in range(4):
        codes = shown.copy()
        codes[0, place] = letter
        total += 2 ** -counts.bits(MaskedBases(codes, shown, place, np.zeros(3, np.int64)))
    np.testing.assert_allclose(total, 1, atol=1e-12)
