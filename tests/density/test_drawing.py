import numpy as np
import pytest

from dnar2mae.density.drawing import Sampler, Unfinished, draw_tasks
from tests.density.oracle import FIRST, START, TABLE, Oracle, exact_predictor, markov_bases, order_0

UNKNOWN = 2  # [UNK]


def tasks_of(number, length):
    return [
        Unfinished(number=i, tokens=np.full(length, UNKNOWN, np.int32), hidden=np.ones(length, bool))
        for i in range(number)
    ]


def drawn(predict, number=400, length=12, window=64, **settings):
    model, tasks = Oracle(predict), tasks_of(number, length)
    draw_tasks(model, tasks, window, Sampler(**settings))
    assert not any(task.hidden.any() for task in tasks)
    return np.stack([task.tokens for task in tasks]) - FIRST, model.encoder.passes


def test_one_base_a_step_draws_exactly_from_a_known_source():
    bases, _ = drawn(exact_predictor, number=3000, steps=12)
    pairs = np.zeros((4, 4))
    np.add.at(pairs, (bases[:, :-1], bases[:, 1:]), 1)
    true = markov_bases(40_000, 12)
    expected = np.zeros((4, 4))
    np.add.at(expected, (true[:, :-1], true[:, 1:]), 1)
    share, wanted = pairs / pairs.sum(), expected / expected.sum()
    assert np.abs(share - wanted).max() < 4.5 * (0.25 / pairs.sum()) ** 0.5 * 2
    assert np.bincount(bases[:, 0], minlength=4) / 3000 == pytest.approx(START, abs=0.04)
    at_once, _ = drawn(exact_predictor, number=3000, steps=1)  # as if bases were independent
    together = np.mean(TABLE[at_once[:, :-1], at_once[:, 1:]])
    assert together < np.mean(TABLE[bases[:, :-1], bases[:, 1:]]) - 0.05


def test_a_draw_depends_on_the_seed_and_the_number_of_the_sequence_alone(monkeypatch):
    bases, passes = drawn(exact_predictor, steps=5)
    assert passes <= 5 * -(-400 // (2 * 4096 // 12))
    monkeypatch.setattr("dnar2mae.density.drawing.tokens_at_once", lambda device: 30)
    one_by_one, _ = drawn(exact_predictor, number=40, steps=5)
    assert (one_by_one == bases[:40]).all()
    other, _ = drawn(exact_predictor, number=40, steps=5, seed=1)
    assert (other != bases[:40]).mean() > 0.3


def test_more_steps_than_bases_are_one_base_a_step():
    bases, passes = drawn(exact_predictor, number=3, length=7, steps=50)
    assert passes == 7
    assert (bases == drawn(exact_predictor, number=3, length=7, steps=7)[0]).all()


def test_temperature():
    assert (drawn(order_0, temperature=0.0)[0] == START.argmax()).all()
    cold, hot = (np.bincount(drawn(order_0, temperature=t)[0].ravel(), minlength=4) for t in (0.5, 100.0))
    assert cold / cold.sum() == pytest.approx(START**2 / (START**2).sum(), abs=0.03)
    assert hot / hot.sum() == pytest.approx(np.full(4, 0.25), abs=0.03)


def test_what_is_longer_than_a_window_is_drawn_by_windows_that_overlap():
    bases, passes = drawn(exact_predictor, number=200, length=40, window=16, steps=16)
    assert passes == 16 + 8 * 3  # half a window each time
    joined = TABLE[bases[:, :-1], bases[:, 1:]].mean(0)
    assert joined[[15, 23, 31]].mean() > joined.mean() - 0.05  # no seam


def test_a_gap_is_drawn_with_both_flanks_in_view_and_nothing_else_changes():
    true = markov_bases(300, 90)
    tasks = []
    for i, row in enumerate(true):
        hidden = np.zeros(90, bool)
        hidden[60:61] = True
        tokens = (row + FIRST).astype(np.int32)
        tokens[hidden] = UNKNOWN
        tasks.append(Unfinished(number=i, tokens=tokens, hidden=hidden))
    assert tasks[0].next_window(16) == 53
    draw_tasks(Oracle(exact_predictor), tasks, 16, Sampler(temperature=0.0))
    found = np.stack([task.tokens for task in tasks]) - FIRST
    assert (found[:, :60] == true[:, :60]).all()
    assert (found[:, 61:] == true[:, 61:]).all()
    likeliest = (TABLE[true[:, 59]] * TABLE[:, true[:, 61]].T).argmax(1)
    assert (found[:, 60] == likeliest).all()
