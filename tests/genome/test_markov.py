import itertools
import math
from collections import Counter

import numpy as np
import pytest
from Bio.Seq import Seq

from dnar2mae.errors import SequenceError
from dnar2mae.genome import markov
from dnar2mae.genome.intervals import intervals_of
from dnar2mae.genome.markov import MarkovYardstick, markov_yardstick
from dnar2mae.genome.split import split
from dnar2mae.genome.store import Genome

from .helpers import config, genome_of, random_bases, with_n


def brute_force(training, validation, order):
    """Score one order with dictionaries; every base with nine known predecessors counts, on both strands."""

    def words(stretches):
        for stretch in itertools.chain(stretches, (str(Seq(s).reverse_complement()) for s in stretches)):
            for i in range(9, len(stretch)):
                if "N" not in (word := stretch.upper()[i - 9 : i + 1]):
                    yield word[9 - order :]

    words_seen = Counter(words(training))
    contexts = Counter()
    for word, n in words_seen.items():
        contexts[word[:-1]] += n
    bits = [-math.log2((words_seen[w] + 0.5) / (contexts[w[:-1]] + 2)) for w in words(validation)]
    return sum(bits) / len(bits)


@pytest.mark.parametrize("batch", [1, 7, 100, 1 << 20])
def test_equals_brute_force(tmp_path, monkeypatch, batch):
    monkeypatch.setattr(markov, "_BATCH_BP", batch)
    rng = np.random.default_rng(0)
    one, two, three = with_n(rng, 700), random_bases(rng, 30, "ACGTacgt"), random_bases(rng, 5)
    genomes = [genome_of(tmp_path, one, two, three, name="a.fa"), genome_of(tmp_path, two, name="b.fa")]
    training = [intervals_of([0, 700, 730], [500, 730, 735]), intervals_of([], [])]
    validation = [intervals_of([505], [700]), genomes[1].intervals]
    got = markov_yardstick(genomes, training, validation)
    expected = [brute_force([one[:500], two, three], [one[505:], two], order) for order in range(10)]
    np.testing.assert_allclose(got.bits, expected, rtol=1e-12)


def test_best_order():
    yardstick = MarkovYardstick(bits=(2.0, 1.9, 1.95))
    assert (yardstick.best_order, yardstick.best_bits) == (1, 1.9)


def test_nothing_to_score(tmp_path):
    genome = genome_of(tmp_path, "ACGTNACGT" * 10)
    with pytest.raises(SequenceError, match="10 known bases in a row"):
        markov_yardstick([genome], [genome.intervals], [genome.intervals])


def test_ecoli(data):
    genome = Genome.open(data / "genomes" / "GCF_000005845.2_ASM584v2_genomic.fna.gz")
    parts = split([genome], config())
    yardstick = markov_yardstick([genome], parts.training, parts.validation)
    assert {k: round(yardstick.bits[k], 3) for k in (0, 2, 5, 7, 9)} == {
        0: 2.0,
        2: 1.964,
        5: 1.937,
        7: 1.931,
        9: 1.971,
    }
    assert yardstick.best_order == 7
