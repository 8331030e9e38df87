import numpy as np
import pytest

from dnar2mae.errors import SequenceError
from dnar2mae.homology import audit, homologues, identity, seeds
from dnar2mae.homology.letters import reverse_complement

from .planted import mutated, random_sequences

TRAIN = random_sequences(0, 300, 150)
PLANTED = [mutated(TRAIN[i], 0.8, i) for i in range(20)] + [
    reverse_complement(mutated(TRAIN[i], 0.75, i)) for i in range(20, 40)
]
UNRELATED = random_sequences(1, 60, 150)


def test_planted_homologues_are_found_on_both_strands_and_nothing_else():
    found = homologues(TRAIN, PLANTED + UNRELATED)
    assert found.at(0.5).tolist() == [True] * 40 + [False] * 60
    assert found.row[:40].tolist() == list(range(40))
    assert not found.by_chance(0.5).any()
    for i in (0, 25):
        assert found.identity[i] == pytest.approx(identity(TRAIN[i], PLANTED[i]))
    assert found.at(0.9).sum() == 0
    assert not found.exact.any()


def test_the_result_does_not_depend_on_what_is_indexed_at_once(monkeypatch):
    whole = homologues(TRAIN, PLANTED + UNRELATED)
    monkeypatch.setattr(seeds, "_INDEXED_BP", 3000)
    monkeypatch.setattr(seeds, "_CELLS", 500)
    told = []
    divided = homologues(TRAIN, PLANTED + UNRELATED, advance=lambda *done: told.append(done))
    assert (divided.row[:40] == whole.row[:40]).all()
    assert (divided.identity >= whole.identity).all()  # more pairs are aligned
    assert (divided.at(0.5) == whole.at(0.5)).all()
    assert told[-1][0] == told[-1][1]


def test_equal_rows_count_however_simple_and_repeats_do_not():
    train = [*TRAIN[:50], "CA" * 40, "ACG"]
    found = homologues(train, ["TG" * 40, "CA" * 36 + "G" * 8, "CGT", "AAA", TRAIN[7].lower()])
    assert found.exact.tolist() == [True, False, True, False, True]
    assert found.at(0.9).tolist() == [True, False, True, False, True]
    assert found.row.tolist()[2:] == [51, -1, 7]
    assert found.chance[1] > 0.9


def test_levels_of_an_audit():
    done = audit(TRAIN, [*PLANTED, TRAIN[0]], identities=(0.9, 0.5))
    assert (done.train_rows, done.test_rows, done.exact) == (300, 41, 1)
    assert [(level.identity, level.rows) for level in done.levels] == [(0.5, 41), (0.9, 1)]
    assert done.levels[1].share == pytest.approx(1 / 41)
    assert done.levels[0].chance == 0


def test_a_single_row_and_none():
    assert homologues(TRAIN[:1], PLANTED[:1]).at(0.7).tolist() == [True]
    with pytest.raises(SequenceError, match="train: expected at least one sequence, got none"):
        homologues([], PLANTED)
    with pytest.raises(SequenceError, match="test: row 1, position 1: expected a nucleotide letter, got '-'"):
        homologues(TRAIN, ["-"])


def test_words_are_those_of_the_patterns():
    rows = [TRAIN[0], "ACGTNACGT" * 5, TRAIN[0]]
    owner, word = seeds.words(rows, 8)
    assert (np.diff(word) >= 0).all()
    expected = set()
    for row, letters in enumerate(rows):
        for number, pattern in enumerate(seeds._PATTERNS):
            for start in range(len(letters) - pattern[7]):
                chosen = [letters[start + place] for place in pattern[:8]]
                if "N" not in chosen:
                    expected.add((row, int(str(number) + "".join(str("ACGT".index(x)) for x in chosen), 4)))
    assert set(zip(owner.tolist(), word.tolist(), strict=True)) == expected
    assert len(word) == len(expected)
