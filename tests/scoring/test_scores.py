import numpy as np
import pytest
from sklearn import metrics

from dnar2mae.scoring.bootstrap import compare, evaluate_groups, interval, mean_ranks, resample_scores
from dnar2mae.scoring.scores import COUNT_SCORES, all_scores, auroc, confusion, mcc


def predictions(num_rows, num_classes, seed, ties):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, num_classes, num_rows)
    probabilities = rng.dirichlet(np.ones(num_classes), num_rows)
    if ties:
        probabilities = np.round(probabilities * 4) + 0.25
        probabilities /= probabilities.sum(1, keepdims=True)
    return truth, probabilities


@pytest.mark.parametrize("num_classes", [2, 3, 9])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("num_rows", [60, 5000])
def test_equal_to_scikit_learn(num_classes, ties, num_rows):
    truth, probabilities = predictions(num_rows, num_classes, 7, ties)
    predicted = probabilities.argmax(1)
    ours = all_scores(truth, probabilities)
    theirs = {
        "mcc": metrics.matthews_corrcoef(truth, predicted),
        "macro_f1": metrics.f1_score(truth, predicted, average="macro"),
        "accuracy": metrics.accuracy_score(truth, predicted),
    }
    if num_classes == 2:
        theirs |= {
            "f1": metrics.f1_score(truth, predicted),
            "auroc": metrics.roc_auc_score(truth, probabilities[:, 1]),
            "auprc": metrics.average_precision_score(truth, probabilities[:, 1]),
        }
    else:
        one_hot = np.eye(num_classes)[truth]
        theirs |= {
            "auroc": metrics.roc_auc_score(truth, probabilities, multi_class="ovr", average="macro"),
            "auprc": metrics.average_precision_score(one_hot, probabilities, average="macro"),
        }
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, abs=1e-12), name


def test_scores_where_classes_are_absent():
    truth, predicted = np.zeros(10, int), np.array([0] * 7 + [1] * 3)
    counts = confusion(truth, predicted, 3)
    assert mcc(counts) == 0 == metrics.matthews_corrcoef(truth, predicted)
    assert COUNT_SCORES["macro_f1"](counts) == metrics.f1_score(truth, predicted, average="macro")
    assert np.isnan(auroc(truth, np.full((10, 2), 0.5)))


def test_the_order_of_rows_makes_no_difference():
    truth, probabilities = predictions(500, 3, 1, True)
    order = np.random.default_rng(2).permutation(500)
    assert all_scores(truth, probabilities) == pytest.approx(all_scores(truth[order], probabilities[order]), abs=1e-14)


def test_bootstrap_of_counts_is_that_of_rows():
    truth, probabilities = predictions(400, 2, 3, False)
    predicted = np.where(np.random.default_rng(4).random(400) < 0.7, truth, probabilities.argmax(1))
    drawn = resample_scores(truth, [predicted[None]], "mcc", 2, rng=np.random.default_rng(5), resamples=4000)[:, 0]
    rng = np.random.default_rng(6)
    by_rows = []
    for _ in range(4000):
        rows = rng.integers(0, 400, 400)
        by_rows.append(mcc(confusion(truth[rows], predicted[rows], 2)))
    assert drawn.mean() == pytest.approx(np.mean(by_rows), abs=0.003)
    assert drawn.std() == pytest.approx(np.std(by_rows), rel=0.06)
    found = interval(0.5, drawn)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(by_rows, [0.025, 0.975])), abs=0.01)


def test_a_model_does_not_differ_from_itself_but_from_a_worse_one():
    truth = np.arange(300) % 2
    rng = np.random.default_rng(0)
    good, bad = (np.where(rng.random((2, 300)) < p, truth, 1 - truth) for p in (0.9, 0.6))
    draws = resample_scores(truth, [good, good, bad], "mcc", 2, rng=rng)
    same = compare(np.zeros(1), [draws[:, 0] - draws[:, 1]])
    assert (same.difference.low, same.difference.high, same.p_value) == (0, 0, 1)
    better = compare(np.array([0.6]), [draws[:, 0] - draws[:, 2]])
    assert better.p_value < 0.01
    assert better.difference.low > 0.3
    assert better.wins == 1


def test_mean_rank_shares_equal_places_and_uses_common_tasks():
    scores = {"a": {"x": 0.9, "y": 0.5}, "b": {"x": 0.8, "y": 0.5, "z": 1.0}, "c": {"x": 0.7, "y": 0.1}}
    assert mean_ranks(scores) == {"a": 1.25, "b": 1.75, "c": 3.0}
    assert mean_ranks({}) == {}


def test_two_groups_have_intervals_around_their_areas():
    rng = np.random.default_rng(0)
    positive = rng.random(300) < 0.2
    scores = np.round(rng.normal(size=300) + positive, 1)
    found = evaluate_groups(scores, positive)
    assert found["AUROC"].value == pytest.approx(
        (scores[positive][:, None] > scores[~positive]).mean()
        + (scores[positive][:, None] == scores[~positive]).mean() / 2
    )
    assert found["AUPRC"].value == pytest.approx(metrics.average_precision_score(positive, scores))
    for part in found.values():
        assert part.low < part.value < part.high
    assert evaluate_groups(scores, positive) == found
    assert evaluate_groups(scores, positive, seed=1) != found
