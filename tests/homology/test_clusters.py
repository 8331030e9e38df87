import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.homology import SPLIT_NAMES, clusters, identity, seeds, split_by_homology
from dnar2mae.homology.letters import reverse_complement

from .planted import mutated, random_sequences


def families(number, members, length=120, identity=0.9):
    """Sequences and the family of each: mutants of one ancestor, every other one on the other strand."""
    rows, truth = [], []
    for family, ancestor in enumerate(random_sequences(3, number, length)):
        for member in range(members):
            letters = mutated(ancestor, identity, 100 * family + member)
            rows.append(reverse_complement(letters) if member % 2 else letters)
            truth.append(family)
    return rows, np.array(truth)


def same(first, second):
    return ((first[:, None] == first) == (second[:, None] == second)).all()


def test_planted_families_are_clusters_in_any_order():
    rows, truth = families(30, 5)
    found = clusters(rows, identity=0.75)
    assert found.tolist() == truth.tolist()  # numbered by first rows
    order = np.random.default_rng(0).permutation(len(rows))
    assert same(clusters([rows[i] for i in order], identity=0.75), truth[order])


def test_clusters_are_those_of_all_pairs():
    rows, _ = families(12, 4, length=90, identity=0.88)
    pairs = np.array([[identity(first, second) >= 0.8 for first in rows] for second in rows])
    _, joined = connected_components(pairs, directed=False)
    assert same(clusters(rows, identity=0.8), joined)
    assert 12 < joined.max() + 1 < 40  # neither all families whole nor all rows alone


def test_more_sequences_than_are_indexed_at_once(monkeypatch):
    rows, truth = families(30, 5)
    monkeypatch.setattr(seeds, "_INDEXED_BP", 1000)
    monkeypatch.setattr(seeds, "_CELLS", 50)
    told = []
    assert same(clusters(rows, identity=0.75, advance=lambda *done: told.append(done)), truth)
    assert told[-1][0] == told[-1][1]
    assert len(told) > 10


def test_a_chain_is_one_cluster_and_its_ends_are_not_alike():
    (genome,) = random_sequences(5, 1, 400)
    windows = [genome[start : start + 100] for start in range(0, 301, 20)]
    assert clusters(windows, identity=0.95).max() == 0
    assert clusters([windows[0], windows[-1]], identity=0.95).tolist() == [0, 1]


def test_equal_rows_and_other_strands_without_alignment():
    assert clusters(["ACGTA", "TACGT", "acgta", "GGG", "CCC", "A"]).tolist() == [0, 0, 0, 1, 1, 2]
    assert clusters(["ACGT"]).tolist() == [0]


def test_what_cannot_be_clustered():
    with pytest.raises(ConfigError, match=r"identity must be in \[0.65, 1\], got 0.5"):
        clusters(["ACGT"], identity=0.5)
    with pytest.raises(SequenceError, match="sequences: expected at least one sequence, got none"):
        clusters([])
    with pytest.raises(SequenceError, match="sequences: row 2: the sequence is empty"):
        clusters(["A", ""])


def test_a_split_keeps_families_whole_in_any_order_of_rows():
    rows, truth = families(40, 3)
    split = split_by_homology(rows, identity=0.75, seed=1)
    assert all(len(set(split[truth == family])) == 1 for family in range(40))
    assert np.bincount(split).tolist() == [96, 12, 12]
    order = np.random.default_rng(0).permutation(len(rows))
    assert (split_by_homology([rows[i] for i in order], identity=0.75, seed=1) == split[order]).all()
    assert (split_by_homology(rows, identity=0.75, seed=2) != split).any()


def test_a_cluster_that_is_too_large_goes_to_train():
    rows = [mutated("ACGTTGCAAC" * 10, 0.97, seed) for seed in range(30)] + random_sequences(0, 20, 100)
    split = split_by_homology(rows, shares=(0.6, 0.2, 0.2))
    assert set(split[:30]) == {SPLIT_NAMES.index("train")}
    assert np.bincount(split).tolist() == [30, 10, 10]
    assert set(split_by_homology(rows, shares=(0.8, 0.0, 0.2))) == {0, 2}


def test_a_split_that_is_impossible():
    with pytest.raises(ConfigError, match="no row is left for dev: 1 clusters at 80% identity, the largest of 3 of 3 "):
        split_by_homology(["ACGT" * 10] * 3)
    with pytest.raises(ConfigError, match=r"at least 0 with a sum of 1, got \(0.8, 0.1, 0.2\)"):
        split_by_homology(["A"], shares=(0.8, 0.1, 0.2))
