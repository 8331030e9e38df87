import numpy as np
import pytest
from sklearn import metrics

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
        "f1": metrics.f1_score(truth, predicted, labels=[num_classes - 1], average="macro"),
        "accuracy": metrics.accuracy_score(truth, predicted),
    }
    if num_classes == 2:
        theirs |= {
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


def test_a_class_of_one_row_that_is_never_predicted_counts():
    truth, probabilities = np.array([0, 0, 0, 1]), np.eye(2)[[0, 0, 0, 0]]
    assert all_scores(truth, probabilities)["macro_f1"] == pytest.approx((6 / 7 + 0) / 2)


@pytest.mark.parametrize("name", COUNT_SCORES)
def test_scores_of_counts_that_shrink_alike_are_equal(name):
    counts = confusion(*np.random.default_rng(0).integers(0, 3, (2, 50)), 3)
    assert COUNT_SCORES[name](counts / 100) == pytest.approx(COUNT_SCORES[name](counts), abs=1e-12)
