import dataclasses

import numpy as np
import pytest
from sklearn import metrics

from dnar2mae.benchmarks.coverage import SCENES, coverage, truth
from dnar2mae.scoring.intervals import compare, difference, evaluate_groups, mean_ranks, score_ranks, score_rows
from dnar2mae.scoring.scores import COUNT_SCORES, all_scores


def rows(num_rows=120, num_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num_rows)
    probabilities = np.round(rng.dirichlet(np.ones(num_classes), num_rows) + np.eye(num_classes)[labels] / 2, 1)
    return labels, (probabilities + 0.01) / (probabilities + 0.01).sum(1, keepdims=True)


@pytest.mark.parametrize("num_classes", [2, 3, 9])
@pytest.mark.parametrize("metric", ["mcc", "macro_f1", "accuracy", "auroc", "auprc"])
def test_a_score_is_the_mean_over_seeds_inside_its_interval(metric, num_classes):
    labels, probabilities = rows(num_classes=num_classes)
    _, other = rows(num_classes=num_classes, seed=1)
    tables = [probabilities, np.roll(other, 1, axis=0)]
    answers = [table.argmax(1) for table in tables] if metric in COUNT_SCORES else tables
    score = score_rows(metric, labels, answers, num_classes)
    assert score.value == pytest.approx(np.mean([all_scores(labels, table)[metric] for table in tables]), abs=1e-12)
    found = score.interval()
    assert -1 <= found.low < score.value < found.high <= 1


@pytest.mark.parametrize("metric", ["mcc", "macro_f1", "f1", "accuracy", "auroc", "auprc"])
def test_influence_is_the_derivative_by_the_weight_of_a_row(metric):
    """Each of many copies of the rows shifts the score by its influence over their number when one more is added."""
    labels, probabilities = rows(40, 2)
    copies = 400
    many, table = np.tile(labels, copies), np.tile(probabilities, (copies, 1))

    def scored(labels, table):
        answers = table.argmax(1) if metric in COUNT_SCORES else table
        return score_rows(metric, labels, [answers], 2)

    base = scored(many, table)
    for row in (0, 3, 17, 31):
        more = scored(np.append(many, labels[row]), np.vstack([table, probabilities[row : row + 1]]))
        assert more.centre - base.centre == pytest.approx(base.influence[row], rel=0.02, abs=1e-7)


def test_the_standard_error_is_that_of_a_bootstrap_of_rows():
    labels, probabilities = rows(400, 2)
    rng = np.random.default_rng(1)
    drawn = [rng.integers(0, 400, 400) for _ in range(300)]
    for metric in ("mcc", "auroc", "auprc"):
        answers = probabilities.argmax(1) if metric in COUNT_SCORES else probabilities
        score = score_rows(metric, labels, [answers], 2)
        values = [score_rows(metric, labels[d], [answers[d]], 2).value for d in drawn]
        assert np.sqrt(score.weights @ score.influence**2) == pytest.approx(np.std(values), rel=0.12), metric


def test_perfect_and_useless_predictions_have_intervals_of_some_length():
    labels = np.arange(30) % 2
    for metric, answers in (("mcc", labels), ("accuracy", labels), ("auroc", np.eye(2)[labels])):
        found = score_rows(metric, labels, [answers], 2).interval()
        assert found.low < 0.95
        assert found.value == found.high == 1
    one_class = score_rows("mcc", labels, [np.zeros(30, int)], 2).interval()
    assert one_class.low < -0.1
    assert one_class.high > 0.1


def test_a_score_without_a_class_has_no_interval():
    found = score_ranks("auroc", np.zeros(5, bool), np.arange(5.0)).interval()
    assert np.isnan([found.value, found.low, found.high]).all()


def test_a_class_that_is_nowhere_changes_no_macro_f1():
    labels, probabilities = rows(num_classes=2)
    predicted = probabilities.argmax(1)
    two, four = (score_rows("macro_f1", labels, [predicted], classes).interval() for classes in (2, 4))
    assert (four.value, four.low, four.high) == pytest.approx((two.value, two.low, two.high))


def test_a_difference_stays_within_its_range_and_one_of_nothing_is_unknown():
    labels = np.arange(8) % 2
    right, wrong = (score_rows("mcc", labels, [answers], 2) for answers in (labels, 1 - labels))
    assert difference(right, wrong).high == 2
    right, wrong = (score_rows("accuracy", labels, [answers], 2) for answers in (labels, 1 - labels))
    assert difference(right, wrong).high == 1
    nothing = score_ranks("auroc", np.zeros(5, bool), np.arange(5.0))
    assert np.isnan(compare([(nothing, nothing)]).p_value)


def test_a_model_does_not_differ_from_itself_but_from_a_worse_one():
    labels = np.arange(300) % 2
    rng = np.random.default_rng(0)
    good, bad = (np.where(rng.random((2, 300)) < p, labels, 1 - labels) for p in (0.9, 0.6))
    good, bad = (score_rows("mcc", labels, list(answers), 2) for answers in (good, bad))
    same = compare([(good, good)])
    assert (same.difference.low, same.difference.high, same.p_value) == (0, 0, 1)
    better = compare([(good, bad), (bad, good), (good, bad)])
    assert better.difference.value == pytest.approx((good.value - bad.value) / 3)
    assert better.p_value < 0.01
    assert (better.wins, better.num_tasks) == (2, 3)
    assert difference(good, bad).low > 0.3


def test_mean_rank_shares_equal_places_and_uses_common_tasks():
    scores = {"a": {"x": 0.9, "y": 0.5}, "b": {"x": 0.8, "y": 0.5, "z": 1.0}, "c": {"x": 0.7, "y": 0.1}}
    assert mean_ranks(scores) == {"a": 1.25, "b": 1.75, "c": 3.0}
    assert mean_ranks({}) == {}


def test_two_groups_have_intervals_around_their_areas():
    rng = np.random.default_rng(0)
    positive = rng.random(300) < 0.2
    scores = np.round(rng.normal(size=300) + positive, 1)
    found = evaluate_groups(scores, positive)
    assert found["AUROC"].value == pytest.approx(metrics.roc_auc_score(positive, scores))
    assert found["AUPRC"].value == pytest.approx(metrics.average_precision_score(positive, scores))
    for part in found.values():
        assert part.low < part.value < part.high


@pytest.mark.parametrize("scene", [SCENES[0], SCENES[3]], ids=str)
def test_intervals_of_small_test_sets_hold_the_truth_as_often_as_they_say(scene):
    # 400 draws: a standard error of 0.011; the whole simulation is in benchmarks/results/coverage.csv
    found = coverage(scene, 400)
    for metric in ("mcc", "accuracy", "auroc", "auprc"):
        assert 0.91 <= found[metric] <= 0.985, metric


def test_the_true_scores_are_those_of_many_rows():
    scene = dataclasses.replace(SCENES[2], num_rows=200_000)
    rng = np.random.default_rng(0)
    labels = (rng.random(scene.num_rows) < scene.share).astype(int)
    scores = rng.normal(size=scene.num_rows) + scene.effect * labels
    found = evaluate_groups(scores, labels == 1)
    assert found["AUROC"].value == pytest.approx(truth(scene, scene.effect)["auroc"], abs=0.004)
    assert found["AUPRC"].value == pytest.approx(truth(scene, scene.effect)["auprc"], abs=0.008)


def test_two_mccs_may_differ_by_more_than_1():
    labels = np.arange(300) % 2
    rng = np.random.default_rng(0)
    good, bad = (np.where(rng.random((2, 300)) < p, labels, 1 - labels) for p in (0.95, 0.05))
    both = tuple(score_rows("mcc", labels, list(answers), 2) for answers in (good, bad))
    assert compare([both]).difference.high > compare([both]).difference.value > 1.5
