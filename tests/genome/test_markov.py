import math
from collections import Counter

import numpy as np
import pytest
from Bio.Seq import Seq

from dnar2mae.genome import fitted_bases as fitting
from dnar2mae.genome import markov
from dnar2mae.genome.alphabet import decode
from dnar2mae.genome.fitted_bases import fitted_bases
from dnar2mae.genome.intervals import intervals_of
from dnar2mae.genome.markov import MAX_ORDER, MarkovCounts
from dnar2mae.genome.masked_bases import MaskedBases
from dnar2mae.genome.split import split
from dnar2mae.genome.store import Genome
from dnar2mae.genome.windows import TiledSource

from .helpers import config, genome_of, random_bases, with_n


def both_strands(*stretches):
    upper = [stretch.upper() for stretch in stretches]
    return upper + [str(Seq(stretch).reverse_complement()) for stretch in upper]


def every_known_base(windows):
    return MaskedBases(windows, windows, np.flatnonzero(windows < 4), np.zeros((windows < 4).sum(), np.int64))


def slow_bits(stretches, window, place):
    """Bits of one base of a window by order, from a dictionary of contexts."""
    counts = Counter()
    for stretch in stretches:
        for i, letter in enumerate(stretch):
            for m in range(min(i, MAX_ORDER) + 1):
                if letter != "N" and "N" not in stretch[i - m : i]:
                    counts[stretch[i - m : i], letter] += 1
    chance, bits = 0.25, []
    for m in range(MAX_ORDER + 1):
        context = window[place - m : place]
        if place >= m and "N" not in context:
            total = sum(counts[context, letter] for letter in "ACGT")
            chance = (counts[context, window[place]] + 32 * chance) / (total + 32)
        bits.append(-math.log2(chance))
    return bits


@pytest.mark.parametrize("chunk", [1, 7, 1 << 18])
def test_equals_dictionaries(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(markov, "_CHUNK_BP", chunk)
    rng = np.random.default_rng(0)
    one, two, three = with_n(rng, 300), random_bases(rng, 30, "ACGTacgt"), random_bases(rng, 5)
    genomes = [genome_of(tmp_path, one, two, three, name="a.fa"), genome_of(tmp_path, two * 3, name="b.fa")]
    training = [intervals_of([0, 300, 330], [250, 330, 335]), genomes[1].intervals]
    stretches = both_strands(one[:250], two, three, two * 3)
    windows = np.stack([genomes[0].span(0, 40), genomes[0].span(255, 295), genomes[1].span(7, 47)]) & np.uint8(7)
    masked = every_known_base(windows)
    got = MarkovCounts(fitted_bases(genomes, training)).bits(masked)
    letters = [decode(window) for window in windows]
    expected = [slow_bits(stretches, letters[at // 40], at % 40) for at in masked.targets.tolist()]
    np.testing.assert_allclose(got.T, expected, atol=1e-9)


def test_nothing_counted_is_two_bits_a_base(tmp_path):
    genome = genome_of(tmp_path, "ACGT")
    windows = np.zeros((1, 20), np.uint8)
    bits = MarkovCounts(fitted_bases([genome], [intervals_of([], [])])).bits(every_known_base(windows))
    np.testing.assert_array_equal(bits, np.full((MAX_ORDER + 1, 20), 2.0))


def test_a_large_genome_is_sampled_evenly(tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "_STRETCH_BP", 10)
    rng = np.random.default_rng(1)
    one, two = random_bases(rng, 95), random_bases(rng, 60)
    genome = genome_of(tmp_path, one, two)
    intervals = intervals_of([0, 100], [95, 155])  # 150 bases, of which 45 may be read: 3 of every 10
    found = decode(fitted_bases([genome], [intervals], max_bp=45))
    parts = [one[i : i + 3] for i in range(0, 95, 10)] + [two[i : i + 3] for i in range(10, 60, 10)]
    assert found[: len(found) // 2] == "".join(part + "NNNNN" for part in parts)
    assert found[len(found) // 2 :] == str(Seq(found[: len(found) // 2]).reverse_complement())
    whole = decode(fitted_bases([genome], [intervals], max_bp=150))
    assert whole.startswith(f"{one}NNNNN{two[5:]}NNNNN")


def held_out_bits(path, num_parts):
    """Bits by order of every base of the windows that tile the held-out part."""
    genome = Genome.open(path)
    parts = split([genome], config())
    counts = MarkovCounts(fitted_bases([genome], parts.training))
    windows = TiledSource([genome], parts.validation, config())
    total, number = np.zeros(MAX_ORDER + 1), 0
    for ids in np.array_split(np.arange(len(windows)), num_parts):
        bits = counts.bits(every_known_base(windows.codes(ids) & np.uint8(7)))
        total, number = total + bits.sum(axis=1), number + bits.shape[1]
    return total / number


def test_ecoli(data):
    bits = held_out_bits(data / "genomes" / "GCF_000005845.2_ASM584v2_genomic.fna.gz", 1)
    assert bits[[0, 2, 5, 7]] == pytest.approx([2.0, 1.964, 1.937, 1.931], abs=0.001)
    assert bits.argmin() == 7


@pytest.mark.slow
def test_yeast_gains_to_the_highest_order(data):
    bits = held_out_bits(data / "genomes" / "Saccharomyces_cerevisiae.R64-1-1.dna.toplevel.fa.gz", 8)
    assert bits[[9, 10, 12, 15]] == pytest.approx([1.925, 1.915, 1.887, 1.852], abs=0.002)
    assert bits.argmin() == MAX_ORDER
