import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import d2_tweedie_score, log_loss, mean_poisson_deviance, r2_score

from dnar2mae.finetuning.scores import class_scores, count_scores, number_scores
from dnar2mae.finetuning.targets import KINDS, BinaryLabels, Classes, Counts, Numbers, target_of
from dnar2mae.scoring.intervals import score_rows

RNG = np.random.default_rng(0)


def learned(kind, wanted, columns=("a",), classes=(), weigh=False):
    return KINDS[kind].learned(columns, "sample", wanted, classes=classes, weigh=weigh)


def examples():
    return {
        "classes": (learned("classes", np.array([[0.0], [1], [2], [2]]), classes=("x", "y", "z"), weigh=True), 3),
        "labels": (learned("labels", np.array([[0.0, 1], [1, 1], [0, 0]]), ("a", "b"), weigh=True), 2),
        "numbers": (learned("numbers", RNG.normal(3, 2, (50, 2)), ("a", "b")), 2),
        "counts": (learned("counts", RNG.poisson(5, (50, 1)).astype(float)), 1),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_target_survives_its_plain_values(kind):
    target, outputs = examples()[kind]
    assert target_of(target.to_dict()) == target
    assert target.num_outputs == outputs
    predicted = target.predicted(RNG.normal(size=(4, outputs)).astype(np.float32))
    assert list(target.frame(predicted).columns)[-len(target.names) :] == list(target.names)


def test_losses_are_the_published_ones():
    logits = torch.randn(20, 3)
    classes = np.arange(20) % 3
    target = Classes(columns=("a",), classes=("x", "y", "z"))
    ours = target.losses(logits, torch.from_numpy(classes[:, None]).float()).mean()
    assert float(ours) == pytest.approx(log_loss(classes, target.predicted(logits.numpy())), rel=1e-5)
    counts = RNG.poisson(4, (20, 1)).astype(np.float32)
    target = Counts(columns=("a",), mean=(4.0,))
    outputs = torch.randn(20, 1)
    one, other = (
        target.losses(x, torch.from_numpy(target.scaled(counts)).float()).mean() for x in (outputs, outputs * 0)
    )
    deviances = [mean_poisson_deviance(counts[:, 0], target.predicted(x.numpy())[:, 0]) for x in (outputs, outputs * 0)]
    # deviance is twice the negative log-likelihood; ours is divided by the mean count
    assert float(one - other) == pytest.approx((deviances[0] - deviances[1]) / 2 / 4, rel=1e-4)
    target = Numbers(columns=("a",), mean=(1.0,), sd=(2.0,))
    wanted = torch.from_numpy(target.scaled(np.array([[3.0]])))
    assert float(target.losses(torch.tensor([[0.5]]), wanted.float())) == pytest.approx(0.25)
    assert target.predicted(np.array([[0.5]])) == pytest.approx(2.0)


def test_weights_let_rare_classes_count_as_much():
    wanted = np.repeat([0.0, 1.0], [90, 10])[:, None]
    target = learned("classes", wanted, classes=("x", "y"), weigh=True)
    losses = target.losses(torch.zeros(100, 2), torch.from_numpy(wanted).float())
    assert float(losses[:90].sum()) == pytest.approx(float(losses[90:].sum()), rel=1e-4)
    labels = learned("labels", wanted, weigh=True)
    losses = labels.losses(torch.zeros(100, 1), torch.from_numpy(wanted).float())
    assert float(losses[:90].sum()) == pytest.approx(float(losses[90:].sum()), rel=1e-4)


def test_a_temperature_flattens_probabilities():
    target = BinaryLabels(columns=("a",)).at(2.0)
    assert target.predicted(np.array([[2.0]])) == pytest.approx(1 / (1 + np.exp(-1)))


def test_scores_of_numbers_are_the_usual_ones():
    wanted = RNG.normal(5, 1, (400, 1))
    predicted = wanted + RNG.normal(0, 0.5, (400, 1))
    scores = number_scores(wanted, predicted, np.arange(400), ("a",))
    assert scores["pearson"].value == pytest.approx(pearsonr(wanted[:, 0], predicted[:, 0])[0])
    assert scores["spearman"].value == pytest.approx(spearmanr(wanted[:, 0], predicted[:, 0])[0])
    assert scores["r2"].value == pytest.approx(r2_score(wanted, predicted))
    r = scores["pearson"]
    fisher = np.tanh(np.arctanh(r.value) + np.array([-1, 1]) * 1.96 / np.sqrt(397))
    np.testing.assert_allclose([r.low, r.high], fisher, atol=0.01)


def test_the_deviance_explained_is_that_of_scikit_learn():
    mean = RNG.gamma(2, 3, (300, 1))
    wanted = RNG.poisson(mean).astype(float)
    score = count_scores(wanted, mean, np.arange(300), ("a",))["deviance_explained"]
    assert score.value == pytest.approx(d2_tweedie_score(wanted[:, 0], mean[:, 0], power=1))
    assert score.low < score.value < score.high


def test_labels_of_tracks_have_the_scores_of_exact_ones():
    counts = RNG.poisson(1, (200, 1)).astype(np.float64)
    predicted = np.exp(RNG.normal(size=(200, 1)))
    exact, ours = (count_scores(wanted, predicted, np.arange(200), ("a",)) for wanted in (counts, counts.astype("f4")))
    assert (counts == 0).any()
    assert ours == exact


def test_rows_of_one_group_say_less_than_rows_of_their_own():
    truth = np.repeat(RNG.integers(0, 2, 100), 30)
    logits = np.repeat(RNG.normal(size=100), 30) + 1.5 * truth
    probabilities = np.stack([1 - 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(-logits))], axis=1)
    own = class_scores(truth, probabilities, np.arange(3000))["auroc"]
    together = class_scores(truth, probabilities, np.repeat(np.arange(100), 30))["auroc"]
    assert together.value == own.value == score_rows("auroc", truth, [probabilities], 2).value
    assert (together.high - together.low) > 3 * (own.high - own.low)


def test_predictions_that_are_all_the_same_have_no_correlation():
    wanted = RNG.normal(size=(30, 1)) + 1e8
    scores = Numbers(columns=("a",), mean=(0.0,), sd=(1.0,)).scores(np.full((30, 1), 1e8 + 0.1), wanted, np.arange(30))
    assert np.isnan(scores["pearson"].value)
    assert scores["r2"].value < 0.1
