"""The probe that converges, and the choice among vectors."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from dnar2mae.benchmarks.models.checkpoint import from_checkpoint
from dnar2mae.benchmarks.models.cnn import cnn_head, pad_vectors, token_vectors
from dnar2mae.benchmarks.models.huggingface import from_huggingface
from dnar2mae.benchmarks.models.pooling import by_name, pool_layers
from dnar2mae.benchmarks.running import solver, vectors
from dnar2mae.benchmarks.running.frozen import (
    AT_EDGE,
    NOT_CONVERGED,
    Features,
    Predicted,
    best_of,
    ensemble,
    probe,
    probe_together,
    selection_value,
)
from dnar2mae.benchmarks.running.options import SuiteOptions
from dnar2mae.benchmarks.running.protocol import ProbeSettings
from dnar2mae.benchmarks.running.solver import penalty_path
from dnar2mae.benchmarks.running.vectors import raw_features
from dnar2mae.benchmarks.tasks.data import in_folds, load_task
from dnar2mae.benchmarks.tasks.suite import load_suite
from dnar2mae.cli import main
from dnar2mae.config import ModelConfig, PretrainConfig
from dnar2mae.errors import ConfigError
from dnar2mae.modalities.registry import build_modality
from dnar2mae.models.hidden_states import hidden_units, layer_outputs
from dnar2mae.models.masked import MaskedModel
from dnar2mae.models.pooling import pooled_layers

from .conftest import motif_rows
from .test_models import bert  # noqa: F401 - a fixture

V2 = ProbeSettings(c=(1e-3, 1e-1, 1e1))


def alike(num_rows, num_columns, num_classes, dtype):
    """Columns that all but repeat each other, as those of a network do."""
    rng = np.random.default_rng(0)
    few = rng.normal(size=(num_rows, max(num_columns // 6, 5)))
    rows = few @ rng.normal(size=(few.shape[1], num_columns)) + 0.05 * rng.normal(size=(num_rows, num_columns))
    rows = (rows - rows.mean(0)) / rows.std(0)
    labels = (rows[:, :num_classes] + rng.normal(size=(num_rows, num_classes))).argmax(1)
    return rows.astype(dtype), labels


@pytest.mark.parametrize(
    ("shape", "num_classes", "dtype"),
    [((800, 60), 2, np.float32), ((800, 60), 2, np.float64), ((500, 30), 4, np.float64), ((90, 200), 3, np.float32)],
)
@pytest.mark.parametrize("form", [np.asarray, csr_matrix])
def test_the_optimum_is_that_of_scikit_learn_run_to_convergence(shape, num_classes, dtype, form):
    rows, labels = alike(*shape, num_classes, dtype)
    exact = rows.astype(np.float64)
    for fit in penalty_path(form(rows), labels, (1e-4, 1e-2, 1.0, 1e2)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a line search that float64 has stopped
            theirs = LogisticRegression(C=fit.c, tol=1e-10, max_iter=20_000).fit(exact, labels)
        mean = -theirs.predict_log_proba(exact)[np.arange(len(labels)), labels].mean()
        loss = mean + np.square(theirs.coef_).sum() / (2 * fit.c * len(labels))
        assert fit.converged
        assert fit.loss == pytest.approx(loss, abs=1e-6)
        np.testing.assert_allclose(fit.probabilities(exact, num_classes), theirs.predict_proba(exact), atol=5e-3)


def test_an_optimum_that_was_not_reached_and_an_edge_of_the_grid_are_noted(monkeypatch):
    rows, labels = alike(300, 20, 2, np.float32)
    features, about = Features(rows[:200], rows[200:250], rows[250:]), (labels[:200], labels[200:250])
    assert probe(features, about, 2, replace(V2, c=(1e-6, 1e-1, 1e6))).notes == ()
    assert probe(features, about, 2, replace(V2, c=(1e-1, 1e7))).notes == (AT_EDGE,)
    assert probe(features, about, 2, replace(V2, c=(1e-1,))).notes == ()  # nothing was chosen
    monkeypatch.setattr(solver, "MAX_ITERATIONS", 1)
    assert NOT_CONVERGED in probe(features, about, 2, V2).notes


def test_a_search_goes_on_where_strong_penalties_give_all_rows_one_class():
    rng = np.random.default_rng(0)
    labels = (np.arange(900) % 9 == 0).astype(int)
    rows = (rng.normal(size=(900, 4)) + 1.5 * labels[:, None]).astype(np.float32)
    features, about = Features(*np.split(rows, 3)), (labels[:300], labels[300:600])
    grid = (1e-7, 1e-6, 1e-5, 1e-4, 1e-2, 1.0, 1e2)
    assert {probe(features, about, 2, replace(V2, c=grid[:n])).dev for n in (1, 2, 3)} == {0}  # three that say nothing
    found = probe(features, about, 2, replace(V2, c=grid))
    assert found.dev > 0.5
    assert found.setting["c"] >= 1e-2


@pytest.mark.parametrize("winner", ["middle", "bins"])
def test_vectors_that_know_the_class_are_chosen_on_dev(winner):
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 2
    noise = {name: rng.normal(size=(300, 6)).astype(np.float32) for name in ("last", "middle", "bins")}
    noise[winner][:, 2] += 3 * labels
    candidates = {name: Features(x[:150], x[150:220], x[220:]) for name, x in noise.items()}
    about = (labels[:150], labels[150:220]), 2, V2
    found = best_of({name: probe(features, *about) for name, features in candidates.items()})
    assert found.setting["features"] == winner
    assert (found.probabilities.argmax(1) == labels[220:]).mean() > 0.85


def test_an_ensemble_is_better_than_each_of_its_probes_and_leaves_out_what_does_not_help():
    rng = np.random.default_rng(0)
    labels = np.arange(900) % 2

    def answers(seed, strength):
        logit = strength * (2 * labels - 1) + np.random.default_rng(seed).normal(size=900)
        p = 1 / (1 + np.exp(-logit))
        both = np.stack([1 - p, p], 1)
        return Predicted(both[600:], {"c": 0.1 * seed}, 0.0, (f"note {seed}",), both[:600])

    fits = {"one": answers(1, 1.0), "two": answers(2, 1.0), "noise": answers(3, -1.0)}
    found = ensemble(fits, labels[:600], 8)
    assert "noise" not in found.setting["features"]
    assert found.setting["c"] == "0.1, 0.2"
    assert found.notes == ("note 1", "note 2")
    assert found.dev == pytest.approx(selection_value("loss", labels[:600], found.of_dev))
    for which, rows in (("of_dev", labels[:600]), ("probabilities", labels[600:])):
        own = selection_value("loss", rows, getattr(found, which))
        assert all(own > selection_value("loss", rows, getattr(fits[name], which)) for name in ("one", "two"))
    np.testing.assert_allclose(found.probabilities.sum(1), 1)
    # one choice is the best alone, and twice the same is what it is
    single = ensemble({name: fits[name] for name in ("one", "noise")}, labels[:600], 1)
    np.testing.assert_allclose(single.probabilities, fits["one"].probabilities, rtol=1e-6)
    assert single.setting == {"features": "one", "c": "0.1"}
    assert ensemble({"one": fits["one"]}, labels[:600], 8).setting == {"c": 0.1}
    order = rng.permutation(600)
    shuffled = {name: fit._replace(of_dev=fit.of_dev[order]) for name, fit in fits.items()}
    np.testing.assert_allclose(ensemble(shuffled, labels[:600][order], 8).probabilities, found.probabilities)


def test_two_blocks_together_know_what_each_of_them_knows():
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 4
    one = rng.normal(size=(600, 30)) * 0.3
    two = rng.normal(size=(600, 5)) * 0.3
    one[:, 0] += labels // 2
    two[:, 0] += labels % 2
    parts = [np.split(x.astype(np.float32), [300, 450]) for x in (one, two)]
    blocks = [Features(*map(csr_matrix, parts[0])), Features(*parts[1])]
    about = (labels[:300], labels[300:450])
    found = probe_together(list(zip(blocks, (0.1, 1.0), strict=True)), about, 4, V2)
    alone = [probe(block, about, 4, V2) for block in blocks]
    scores = [(item.probabilities.argmax(1) == labels[450:]).mean() for item in (found, *alone)]
    assert scores[0] > 0.75
    assert max(scores[1:]) < 0.6


def test_poolings_are_those_of_each_sequence_alone(tiny_run):
    encoder = from_checkpoint("tiny", tiny_run, "cpu")
    sequences = [sequence for sequence, _ in motif_rows(6, 0)] + ["ACG", "ACGTACGTACGTA"]
    found = encoder.poolings(sequences, ("units", "bins", "bins8", "early_bins"))
    np.testing.assert_allclose(found["vector"], encoder.embed(sequences), atol=2e-6)
    for i, sequence in enumerate(sequences):
        batch = encoder.collate([encoder.tokenize(sequence)])
        with torch.inference_mode():
            layers, units = encoder.layers(encoder.module, batch.ids, batch.valid, True)
            inner, last = (hidden[0] for hidden in layers)
        both = [torch.cat([part.mean(0), part.amax(0)]) for part in (inner, last)]
        expected = {"middle": both[0], "last": both[1], "all": torch.cat(both)}
        expected["units"] = torch.cat([torch.cat([part[0].mean(0), part[0].amax(0)]) for part in units])
        quarters = [inner[-(-i * len(inner) // 4) : -(-(i + 1) * len(inner) // 4)] for i in range(4)]
        if all(map(len, quarters)):
            expected["early_bins"] = torch.cat([torch.cat([q.mean(0), q.amax(0)]) for q in quarters])
        for name, number in {"bins": 4, "bins8": 8}.items():
            ends = [-(-i * len(last) // number) for i in range(number + 1)]
            parts = [last[a:b] for a, b in zip(ends, ends[1:], strict=False)]
            bins = [torch.cat([p.mean(0), p.amax(0)]) if len(p) else torch.zeros(2 * last.shape[1]) for p in parts]
            expected[name] = torch.cat(bins)
        for name, vector in expected.items():
            np.testing.assert_allclose(found[name][i], vector.numpy(), rtol=2e-5, atol=2e-6, err_msg=name)


def test_layers_of_deep_networks_are_spread_evenly():
    assert pooled_layers(2) == [1, 2]
    assert pooled_layers(12) == [2, 4, 6, 8, 10, 12]
    assert pooled_layers(7)[-1] == 7
    layers = [torch.full((2, 4, 3), float(i)) for i in range(6)]
    pooled = pool_layers(layers, torch.ones(2, 4, dtype=torch.bool))
    named = by_name({name: vectors.numpy() for name, vectors in pooled.items()}, 6)
    assert (named["middle"] == 2).all()
    assert (named["last"] == 5).all()
    assert named["all"].shape == (2, 36)


def test_a_grid_has_nine_parts_a_set_none_and_a_perceptron_keeps_its_vectors():
    counts = torch.ones(2, 36, dtype=torch.bool)
    whole = torch.arange(72.0).reshape(2, 36, 1)
    grid = pool_layers([whole], counts, (6, 6))
    assert grid["bins"].shape == (2, 18)
    assert grid["bins"][0, 0] == torch.tensor([0.0, 1, 6, 7]).mean()
    both = pool_layers([layer.clone() for layer in [whole] * 4], counts, (6, 6), wanted=("bins8", "early_bins8"))
    assert both.keys() == {"all", "bins8", "early_bins8"}
    assert (both["bins8"] == grid["bins"]).all()
    assert "bins" not in pool_layers([torch.zeros(2, 36, 1)], counts, ())
    assert set(pool_layers([torch.zeros(2, 5)] * 3, counts, (36,))) == {"all"}


@pytest.mark.parametrize("backbone", ["cnn", "hybrid", "transformer"])
def test_hidden_units_are_what_the_last_product_of_a_block_takes(backbone):
    config = ModelConfig(backbone=backbone, width=16, depth=2, heads=2, mlp_width=24, global_every=2)
    modality = build_modality(PretrainConfig(model=config))
    module = MaskedModel(config, modality.embedder(), modality.head(), modality.layout).eval()
    tokens = module.vocabulary.first_real + torch.randint(4, (3, 12))
    with torch.inference_mode(), hidden_units(module, [1, 2], None) as units:
        first, last = layer_outputs(module, tokens, None, [1, 2])
    assert [part.shape for part in units] == [(3, 12, 24)] * 2
    assert not any(layer.mlp_out._forward_pre_hooks for layer in module.encoder.layers)
    with torch.inference_mode():
        # what the block adds makes the difference between its input and its output
        layer, before = module.encoder.layers[1], []
        hook = layer.mlp_norm.register_forward_pre_hook(lambda _, inputs: before.append(inputs[0]))
        layer_outputs(module, tokens, None, [1, 2])
        hook.remove()
        after = module.encoder.final_norm(before[0].reshape(3, 12, 16) + layer.mlp_out(units[1]))
    torch.testing.assert_close(after, last, atol=1e-5, rtol=1e-5)
    assert first.shape == last.shape


def test_an_early_layer_is_named_where_it_is_not_the_last():
    counts = torch.ones(2, 8, dtype=torch.bool)
    layers = [torch.full((2, 8, 1), float(i)) for i in range(1, 7)]
    found = pool_layers(layers, counts, wanted=("early_bins", "early_bins8"))
    assert found.keys() == {"all", "early_bins", "early_bins8"}
    assert (found["early_bins"] == 2).all()
    assert found["early_bins8"].shape == (2, 16)
    assert pool_layers(layers[:1], counts, wanted=("early_bins",)).keys() == {"all"}


def test_the_middle_of_a_sequence_is_that_of_the_tokens_that_count():
    layer = torch.arange(2 * 14, dtype=torch.float32).reshape(2, 14, 1)
    counts = torch.ones(2, 14, dtype=torch.bool)
    counts[0, 0] = counts[0, 13] = False
    counts[1, 5:] = False
    found = pool_layers([layer], counts, wanted=("centre",))["centre"]
    assert found[0].tolist() == list(range(3, 11))
    assert found[1].tolist() == [0, 0, *range(14, 19), 0]  # fewer than eight stand in the middle
    assert pool_layers([layer[:, :12]], counts[:, :12], (3, 4), wanted=("centre",)).keys() == {"all"}


def test_layers_of_a_huggingface_folder(bert):  # noqa: F811
    encoder = from_huggingface("bert", bert, "cpu")
    found = encoder.poolings(["ACGTACGTAC"] * 2, ("units", "bins"))
    assert "units" not in found
    assert found["last"].shape == (2, 32)
    np.testing.assert_allclose(found["vector"], encoder.embed(["ACGTACGTAC"] * 2), atol=1e-6)
    assert encoder.module.model.config.output_hidden_states is False
    assert encoder.with_random_weights(0).poolings(["ACGT"], ())["all"].shape == (1, 32)


def test_raw_features_of_both_strands_are_equal_for_the_reverse_complement(motif_suite):
    task = load_suite(str(motif_suite)).tasks[0]
    data = load_task(task, motif_suite / task.name)
    (found,) = raw_features(data, both_strands=True).values()
    one, other = found.train[1], found.test[-1]  # the last test row is a training row's reverse complement
    np.testing.assert_allclose(one.toarray(), other.toarray())
    (single,) = raw_features(data).values()
    assert np.abs(single.train[1].toarray() - single.test[-1].toarray()).max() > 0


def test_one_pass_serves_all_vectors_of_a_model(motif_suite, tiny_run, monkeypatch):
    task = load_suite(str(motif_suite)).tasks[0]
    data = load_task(task, motif_suite / task.name)
    encoder = from_checkpoint("tiny", tiny_run, "cpu")
    calls = []
    whole = type(encoder)._pooled
    monkeypatch.setattr(type(encoder), "_pooled", lambda self, *args: calls.append(1) or whole(self, *args))
    names = ("last", "units", "bins", "all")
    found = vectors.network_vectors(encoder, names, data, SuiteOptions(), 0)
    assert tuple(found) == names
    vectors.network_vectors(encoder, ("vector",), data, SuiteOptions(), 0)
    parts = in_folds(data, 3)
    for part in parts:
        of_part = vectors.network_vectors(encoder, names, part, SuiteOptions(), 0)
        assert [len(rows) for rows in of_part["all"]] == [len(part.train), len(part.dev), len(part.test)]
    assert len(calls) == 1
    whole_rows = np.concatenate(found["units"])
    np.testing.assert_array_equal(of_part["units"].test, whole_rows[parts[-1].places[2]])


def test_heads_on_frozen_tokens_read_what_stands_where(tiny_run):
    encoder = from_checkpoint("tiny", tiny_run, "cpu")
    rows = token_vectors(encoder, encoder.tokens(["ACGTACGTTTG", "GAT"]))
    assert [row.vectors.shape for row in rows] == [(11, 16), (3, 16)]
    head = cnn_head(encoder, 3, seed=0).eval()
    together = head(*pad_vectors(rows, encoder.device))
    assert together.shape == (2, 3)
    for row, logits in zip(rows, together, strict=True):  # padding is not seen
        torch.testing.assert_close(head(*pad_vectors([row], encoder.device))[0], logits)


def test_vectors_that_would_not_fit_are_refused(tiny_run, monkeypatch):
    monkeypatch.setattr("dnar2mae.benchmarks.models.cnn._MOST_BYTES", 100)
    encoder = from_checkpoint("tiny", tiny_run, "cpu")
    with pytest.raises(ConfigError, match="tiny: method cnn-head keeps the vectors of all tokens in memory: 0 GiB"):
        token_vectors(encoder, encoder.tokens(["ACGTACGT"]))


def test_the_default_protocol_from_data_to_report(motif_suite, tiny_run, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["benchmark", "run", str(motif_suite), "--model", f"tiny={tiny_run}", "--out", str(out)]
    flags = ["--method", "probe", "cnn-head", "--baselines", "random", "raw", "combined", "--device", "cpu"]
    assert main([*command, *flags, "--seeds", "2"]) == 0, capsys.readouterr().out
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert {row["protocol"] for row in rows} == {"dnar2mae-v4"}
    counted = pd.DataFrame(rows).groupby(["model", "method"]).size().to_dict()
    assert counted == {
        ("tiny", "probe"): 1,
        ("tiny", "cnn-head"): 2,
        ("k-mer counts + tiny", "probe"): 1,
        ("tiny (random weights)", "probe"): 2,
        ("tiny (random weights)", "cnn-head"): 2,
        ("k-mer counts", "probe"): 1,
    }
    scores = {row["model"]: row["dev"] for row in rows if row["method"] == "probe" and row["seed"] == 0}
    # raw features beside the vectors are an ensemble of both, no worse on dev than either
    assert scores["k-mer counts + tiny"] >= max(scores["tiny"], scores["k-mer counts"])
    combined = next(row for row in rows if row["kind"] == "combined")["chosen"]
    assert "k-mer counts" in combined["features"]
    assert 0.0001 <= next(row for row in rows if row["kind"] == "raw")["chosen"]["c"] <= 1e5
    assert "| chosen on dev |" in (out / "report.md").read_text()
    pairs = pd.read_csv(out / "comparisons.csv").query("task == 'all'").set_index(["model", "against"])
    assert pairs.loc[("k-mer counts + tiny, probe", "k-mer counts, probe"), "says"] == "what the embedding adds"
