import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from dnar2mae.benchmarks.models.checkpoint import from_checkpoint
from dnar2mae.benchmarks.models.cnn import PAD_ID, small_cnn, tokenize
from dnar2mae.benchmarks.models.encoder import pad
from dnar2mae.benchmarks.running.frozen import Features, nearest, probe, selection_value
from dnar2mae.benchmarks.running.protocol import FitSettings, KnnSettings, ProbeSettings
from dnar2mae.benchmarks.running.training import TokenizedRows, TrainingTask, fit, predict, tunable
from dnar2mae.benchmarks.tasks.sequences import reverse_complement
from dnar2mae.finetuning.kmers import kmer_counts
from dnar2mae.scoring.scores import all_scores

from .conftest import motif_rows


def clouds(count, seed, num_classes=3):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, count)
    centres = np.random.default_rng(0).normal(size=(num_classes, 8)) * 3
    return (centres[labels] + rng.normal(size=(count, 8))).astype(np.float32) * 5 + 7, labels


def test_probe_is_logistic_regression_with_the_penalty_of_the_best_dev_score():
    (train, y), (dev, z), (test, truth) = clouds(200, 1), clouds(80, 2), clouds(80, 3)
    settings = ProbeSettings(c=(1e-6, 1e-2, 1.0))
    found = probe(Features(train, dev, test), (y, z), 3, settings)
    mean, sd = train.mean(0), train.std(0)
    best = []
    for c in settings.c:
        model = LogisticRegression(C=c, max_iter=2000, tol=1e-7).fit((train - mean) / sd, y)
        best.append((selection_value("mcc", z, model.predict_proba((dev - mean) / sd)), -c, model))
    chosen = max(best, key=lambda item: item[:2])
    assert found.setting == {"c": -chosen[1]}
    np.testing.assert_allclose(found.probabilities, chosen[2].predict_proba((test - mean) / sd), atol=0.01)
    assert all_scores(truth, found.probabilities)["mcc"] > 0.8


def test_probe_reads_sparse_counts_and_gives_absent_classes_no_share():
    rows = {split: motif_rows(200, seed) for seed, split in enumerate(("train", "dev", "test"))}
    features = Features(*(kmer_counts([s for s, _ in of], 4) for of in rows.values()))
    labels = [np.array([y for _, y in of]) for of in rows.values()]
    found = probe(features, (labels[0], labels[1]), 3, ProbeSettings(c=(0.01,)))
    assert (found.probabilities[:, 2] == 0).all()
    np.testing.assert_allclose(found.probabilities.sum(1), 1)
    assert (found.probabilities.argmax(1) == labels[2]).mean() > 0.7


def test_nearest_neighbours_vote():
    (train, y), (dev, z), (test, truth) = clouds(200, 1), clouds(80, 2), clouds(80, 3)
    found = nearest(Features(train, dev, test), (y, z), 3, KnnSettings(k=(1, 5, 500)))
    assert found.setting["k"] in (1, 5)
    assert all_scores(truth, found.probabilities)["mcc"] > 0.8
    unit = [x - train.mean(0) for x in (train, test)]
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in unit]
    order = np.argsort(-(unit[1] @ unit[0].T), axis=1)[:, : int(found.setting["k"])]
    for row, near in zip(found.probabilities, order, strict=True):
        np.testing.assert_allclose(row, np.bincount(y[near], minlength=3) / len(near))


def test_selection_by_loss_is_minus_the_cross_entropy():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert selection_value("loss", np.array([0, 1]), probabilities) == pytest.approx((np.log(0.9) + np.log(0.8)) / 2)


def problem(tokens, collate, both_strands=False):
    rows = [motif_rows(count, seed, length=64, motif="TATAATGC") for seed, count in enumerate((600, 60, 60))]

    def of(part):
        sequences = [sequence for sequence, _ in part]
        reverse = tokens([reverse_complement(s) for s in sequences]) if both_strands else None
        return TokenizedRows(tokens(sequences), np.array([y for _, y in part]), reverse)

    return TrainingTask(*map(of, rows), num_classes=2, collate=collate, select="mcc")


def cnn_problem(both_strands=False):
    return problem(lambda s: [tokenize(x) for x in s], lambda t: pad(t, PAD_ID), both_strands)


def test_cnn_learns_a_motif():
    settings = FitSettings(lr=(3e-3,), epochs=12, batch_size=16, schedule="constant", patience=12)
    found = fit(lambda seed: small_cnn(64, 2, seed), cnn_problem(), settings, 0, 3e-3)
    assert found.dev > 0.5
    assert all_scores(cnn_problem().test.labels, found.probabilities)["mcc"] > 0.4


def test_a_seed_repeats_itself_exactly():
    settings = FitSettings(lr=(3e-3,), epochs=1, batch_size=60)
    one, again, other = (fit(lambda s: small_cnn(64, 2, s), cnn_problem(), settings, seed, 3e-3) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.probabilities, again.probabilities)
    assert np.abs(other.probabilities - one.probabilities).max() > 1e-3


def test_best_state_is_kept_and_patience_stops():
    settings = FitSettings(epochs=50, batch_size=120, patience=2, schedule="constant")
    network = small_cnn(64, 2, 0)
    found = fit(lambda seed: network, cnn_problem(), settings, 0, 0.0)
    probabilities = predict(network, cnn_problem(), cnn_problem().dev)
    assert selection_value("mcc", cnn_problem().dev.labels, probabilities) == found.dev


def test_predictions_are_averaged_over_strands():
    network, both, one = small_cnn(64, 2, 0), cnn_problem(True), cnn_problem()
    there = predict(network, one, one.test)
    back = predict(network, one, TokenizedRows(both.test.reverse, both.test.labels))
    np.testing.assert_allclose(predict(network, both, both.test), (there + back) / 2)


@pytest.mark.parametrize("lora", [False, True])
def test_tuning_an_encoder(tiny_run, lora):
    encoder = from_checkpoint("tiny", tiny_run, "cpu")
    before = {name: tensor.clone() for name, tensor in encoder.module.state_dict().items()}
    settings = FitSettings(lr=(3e-3,), epochs=2, batch_size=32, warmup_share=0.1, lora_rank=2, lora_dropout=0.1)
    classifier = tunable(encoder, 2, settings, lora=lora, seed=0)
    learned = {name for name, parameter in classifier.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name or name.startswith("head.") for name in learned) == lora
    assert {"head.weight", "head.bias"} < learned
    with torch.inference_mode():
        batch = encoder.collate(encoder.tokens(["ACGTACGTTT"]))
        np.testing.assert_allclose(classifier.eval().encoder(*batch[:2]), encoder.module(*batch[:2]), atol=1e-6)
    task = problem(encoder.tokens, encoder.collate)
    found = fit(lambda seed: tunable(encoder, 2, settings, lora=lora, seed=seed), task, settings, 0, 3e-3)
    assert found.probabilities.shape == (60, 2)
    np.testing.assert_allclose(found.probabilities.sum(1), 1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.module.state_dict().items())


def test_named_lora_targets(tiny_run):
    encoder = from_checkpoint("tiny", tiny_run, "cpu")
    classifier = tunable(encoder, 2, FitSettings(lora_targets=("qkv",)), lora=True, seed=0)
    updated = {name.split(".lora_")[0] for name, _ in classifier.named_parameters() if ".lora_" in name}
    assert {name.rpartition(".")[2] for name in updated} == {"qkv"}
