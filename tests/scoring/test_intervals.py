import dataclasses

import numpy as np
import pytest
from scipy.special import logit
from scipy.stats import norm
from sklearn import metrics

from dnar2mae.benchmarks.coverage import SCENES, coverage, truth
from dnar2mae.scoring.intervals import compare, difference, evaluate_groups, mean_ranks, score_ranks, score_rows
from dnar2mae.scoring.scores import COUNT_SCORES, all_scores, confusion


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


LINES = {"mcc": np.arctanh, "accuracy": logit, "f1": logit, "auroc": logit, "auprc": logit}


@pytest.mark.parametrize("metric", LINES)
@pytest.mark.parametrize("wrong", [False, True])
def test_an_interval_is_as_long_on_both_sides_of_its_centre_on_its_scale(metric, wrong):
    labels, probabilities = rows(60, 2)
    answers = probabilities[:, ::-1] if wrong else probabilities  # worse than chance: an MCC below 0
    score = score_rows(metric, labels, [answers.argmax(1) if metric in COUNT_SCORES else answers], 2)
    found, line = score.interval(), LINES[metric]
    assert line(found.high) + line(found.low) == pytest.approx(2 * line(score.centre))
    change = (line(score.centre + 1e-6) - line(score.centre - 1e-6)) / 2e-6
    error = np.sqrt(score.weights @ score.influence**2)
    assert line(found.high) - line(found.low) == pytest.approx(2 * norm.ppf(0.975) * error * change, rel=1e-6)


@pytest.mark.parametrize(("metric", "ends"), [("mcc", (-1, 1)), ("accuracy", (0, 1)), ("auprc", (0, 1))])
def test_a_centre_that_rounding_moves_to_the_end_of_its_range_has_an_interval(metric, ends):
    labels, probabilities = rows(60, 2)
    score = score_rows(metric, labels, [probabilities.argmax(1) if metric in COUNT_SCORES else probabilities], 2)
    for end in ends:
        # as of very many rows, each of which adds nearly nothing
        many = dataclasses.replace(score, value=float(end), centre=float(end), influence=score.influence * 1e-9)
        found = many.interval()
        assert ends[0] <= found.low <= end <= found.high <= ends[1]


@pytest.mark.parametrize("metric", ["auroc", "auprc"])
def test_a_group_of_one_row_has_a_score_and_an_empty_one_has_none(metric):
    first = score_ranks(metric, np.arange(6) == 0, np.arange(6.0, 0, -1))
    assert first.value == 1
    assert 0 < first.interval().low < 1
    for nobody in (np.zeros(6, bool), np.ones(6, bool)):
        assert np.isnan(score_ranks(metric, nobody, np.arange(6.0)).value)


@pytest.mark.parametrize(
    ("metric", "weighted"), [("auroc", metrics.roc_auc_score), ("auprc", metrics.average_precision_score)]
)
def test_influence_is_the_derivative_of_the_weighted_score_of_scikit_learn(metric, weighted):
    rng = np.random.default_rng(0)
    positive = rng.random(15) < 0.4
    scores = np.round(rng.normal(size=15) + positive, 1)
    found = score_ranks(metric, positive, scores)
    with_added = np.concatenate([positive, np.ones(15, bool), np.zeros(15, bool)])

    def at(weights):
        return weighted(with_added, np.tile(scores, 3), sample_weight=weights)

    assert found.centre == pytest.approx(at(found.weights))
    steps = 1e-4 * np.eye(45)
    slopes = [(at(found.weights + step) - at(found.weights - step)) / 2e-4 for step in steps]
    assert found.influence == pytest.approx(slopes, rel=1e-4, abs=1e-8)


def test_influence_on_the_accuracy_and_f1_of_many_classes_by_hand():
    """Few rows of many classes: nearly every cell of the confusion matrix is empty but for the added rows."""
    labels, predicted = np.arange(11) % 9, np.array([0, 1, 2, 3, 4, 0, 0, 1, 2, 3, 4])
    counts = confusion(labels, predicted, 9) + 1.6 / 81
    accuracy = score_rows("accuracy", labels, [predicted], 9)
    exact = ((labels == predicted) - np.trace(counts) / counts.sum()) / counts.sum()
    assert accuracy.influence[:11] == pytest.approx(exact, rel=1e-8)
    f1 = score_rows("macro_f1", labels, [predicted], 9)
    support, right = counts.sum(0) + counts.sum(1), np.diag(counts)
    lost = 2 * right / support**2  # by each row that is of a class or predicted as it
    exact = (2 / support[labels] * (labels == predicted) - lost[labels] - lost[predicted]) / 9
    assert f1.influence[:11] == pytest.approx(exact, rel=1e-8)


def test_small_integers_hold_labels_of_many_classes():
    labels, predicted = np.arange(60) % 20, np.arange(60) // 2 % 20
    wide, narrow = (
        score_rows("mcc", labels.astype(kind), [predicted.astype(kind)], 20) for kind in (np.int64, np.int8)
    )
    assert narrow.value == wide.value
    assert np.array_equal(narrow.influence, wide.influence)


def test_a_class_that_is_predicted_once_is_a_part_of_macro_f1():
    labels, predicted = np.arange(12) % 2, np.array([0, 1] * 5 + [2, 1])
    score, turned = score_rows("macro_f1", labels, [predicted], 4), score_rows("macro_f1", predicted, [labels], 4)
    assert (score.weights[12:] > 0).sum() == 9  # every cell of three classes
    assert (turned.value, turned.centre) == pytest.approx((score.value, score.centre))


def test_a_class_that_is_nowhere_changes_no_macro_f1():
    labels, probabilities = rows(num_classes=2)
    predicted = probabilities.argmax(1)
    two, four = (score_rows("macro_f1", labels, [predicted], classes).interval() for classes in (2, 4))
    assert (four.value, four.low, four.high) == pytest.approx((two.value, two.low, two.high))


def test_a_difference_stays_within_its_range_and_one_of_nothing_is_unknown():
    labels = np.arange(8) % 2
    right, wrong = (score_rows("mcc", labels, [answers], 2) for answers in (labels, 1 - labels))
    assert difference(right, wrong).high == 2
    assert difference(wrong, right).low == -2
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
    assert (same.difference.low, same.difference.high, same.p_value, same.wins) == (0, 0, 1, 0)
    better = compare([(good, bad), (bad, good), (good, bad)])
    assert better.difference.value == pytest.approx((good.value - bad.value) / 3)
    assert better.p_value < 0.01
    assert (better.wins, better.num_tasks) == (2, 3)
    between = difference(good, bad)
    assert 0.3 < between.low < between.value < between.high


def test_the_p_value_of_a_difference_is_that_at_which_its_interval_ends_at_0():
    labels = np.arange(300) % 2
    rng = np.random.default_rng(0)
    one, other = (
        score_rows("accuracy", labels, [np.where(rng.random(300) < p, labels, 1 - labels)], 2) for p in (0.8, 0.75)
    )
    found = compare([(one, other)])
    centre, half = (
        (found.difference.high + found.difference.low) / 2,
        (found.difference.high - found.difference.low) / 2,
    )
    assert 0.02 < found.p_value < 0.5
    assert norm.ppf(1 - found.p_value / 2) / norm.ppf(0.975) == pytest.approx(abs(centre) / half)


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
