import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from dnar2mae.benchmarks.build import few_labels as build_few_labels
from dnar2mae.benchmarks.models.encoder import Encoder
from dnar2mae.benchmarks.running import logistic
from dnar2mae.benchmarks.running.few_labels import FeatureSet, TaskRows, _answers, compare_few_labels
from dnar2mae.benchmarks.running.logistic import PENALTIES, classify
from dnar2mae.benchmarks.running.options import FewLabels
from dnar2mae.benchmarks.tasks.data import find_task, load_task
from dnar2mae.benchmarks.tasks.suite import load_suite
from dnar2mae.cli import main
from dnar2mae.errors import ConfigError, DataError

from .test_kinds import digits  # noqa: F401 - a fixture

pytestmark = pytest.mark.long


def clouds(count, dimensions, seed=0, distance=2.0):
    """Three clouds in a few of many dimensions."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    vectors = rng.normal(size=(count, dimensions)).astype(np.float32)
    vectors[:, :3] += distance * np.eye(3, dtype=np.float32)[labels]
    return vectors, labels


@pytest.mark.parametrize("dimensions", [8, 90])
def test_the_classifier_is_a_converged_logistic_regression_on_standardised_columns(monkeypatch, dimensions):
    vectors, labels = clouds(120, dimensions)
    vectors *= np.linspace(1, 50, dimensions, dtype=np.float32)
    labelled, test = np.arange(30), np.arange(90, 120)
    monkeypatch.setattr(logistic, "SCALINGS", ("columns",))
    predicted, setting = classify(vectors, labels[labelled], labelled, test)
    pool = vectors[:90]  # unlabelled rows say how to scale as well
    scaled = (vectors - pool.mean(0)) / pool.std(0)
    plain = LogisticRegression(C=setting.c, tol=1e-8, max_iter=10_000).fit(scaled[labelled], labels[labelled])
    np.testing.assert_array_equal(predicted, plain.predict(scaled[test]))
    assert setting.converged
    assert PENALTIES[0] < setting.c < PENALTIES[-1]
    assert not setting.is_at_edge


def test_a_scaling_that_keeps_small_directions_small_wins_where_these_are_noise():
    vectors, labels = clouds(400, 200, distance=4)
    vectors[:, 3:] *= 0.01
    labelled, test = np.arange(30), np.arange(100, 400)
    predicted, setting = classify(vectors, labels[labelled], labelled, test)
    assert setting.scaling == "whole"
    assert (predicted == labels[test]).mean() > 0.9


def test_sparse_vectors_stay_sparse_and_are_classified():
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    counts = (
        rng.poisson(0.05, size=(200, 500)) + (rng.random((200, 500)) < 0.5) * (np.arange(500) < 5) * labels[:, None]
    )
    predicted, _ = classify(csr_matrix(counts.astype(np.float64)), labels[:60], np.arange(60), np.arange(100, 200))
    assert (predicted == labels[100:]).mean() > 0.75


def test_an_edge_of_the_penalties_is_reported(monkeypatch):
    vectors, labels = clouds(60, 8)
    monkeypatch.setattr(logistic, "PENALTIES", (1e-5, 1e-4))
    _, setting = classify(vectors, labels[:30], np.arange(30), np.arange(30, 60))
    assert setting.is_at_edge


def table_of(options, rows=None):
    vectors, labels = clouds(240, 40)
    noise = np.random.default_rng(1).normal(size=vectors.shape).astype(np.float32)
    features = [
        FeatureSet("noise", "raw", [noise]),
        FeatureSet("all", "raw", [vectors]),
        FeatureSet("clean", "checkpoint", [vectors[:, :3], vectors[:, :4]]),
    ]
    rows = rows or TaskRows(labels, np.arange(240) >= 120, np.arange(240))
    return pd.DataFrame(compare_few_labels(features, rows, "accuracy", options)).set_index(
        ["labels_per_class", "features"]
    )


def test_differences_are_to_the_best_raw_features_and_paired():
    table = table_of(FewLabels(labels_per_class=(4,), draws=3))
    assert (table["best_raw"] == "all").all()
    few, every = table.loc[(4, "clean")], table.loc[("all", "clean")]
    assert np.isnan(table.loc[(4, "all"), "difference"])
    assert few["difference"] == pytest.approx(few["score"] - table.loc[(4, "all"), "score"])
    assert few["difference_low"] < few["difference"] < few["difference_high"]
    assert few["difference_low"] > 0
    assert table.loc[(4, "noise"), "difference_high"] < 0
    assert (few["num_models"], few["num_draws"], few["fits"]) == (2, 3, 3)
    assert (every["num_draws"], every["fits"]) == (2, 2)  # all labels can be drawn in one way, by each of two models
    assert every["score"] > few["score"]


def test_draws_go_round_the_models_and_are_the_same_for_all():
    vectors, labels = clouds(240, 40)
    rows = TaskRows(labels, np.arange(240) >= 120, np.arange(240))
    runs = [vectors, vectors[:, :3]]
    features = [FeatureSet("raw", "raw", runs[:1]), FeatureSet("other", "raw", runs[1:]), FeatureSet("m", "x", runs)]
    answers = [_answers(item, rows, 4, FewLabels(draws=3)) for item in features]
    raw, other, both = (found.predicted for found in answers)
    np.testing.assert_array_equal(both, np.stack([raw[0], other[1], raw[2]]))


def test_folds_test_every_row_and_keep_equal_rows_together():
    vectors, labels = clouds(60, 6, distance=0)
    twice, both = np.concatenate([vectors, vectors]), np.concatenate([labels, labels])
    rows = TaskRows(both, np.zeros(120, bool), np.arange(120) % 60)
    features = [FeatureSet("chance", "raw", [twice])]
    options = FewLabels(labels_per_class=(), draws=2, folds=4)
    found = compare_few_labels(features, rows, "accuracy", options)[0]
    assert (found["fits"], found["num_draws"]) == (8, 2)
    assert found["score"] < 0.55  # a twin among the labelled rows would give the answer away


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels_per_class": (10, 2)}, "--labels-per-class must be at least 3, got 2"),
        ({"draws": 0}, "--draws must be at least 1, got 0"),
        ({"folds": 1}, "--folds must be at least 2, got 1"),
    ],
)
def test_options_are_checked(given, message):
    with pytest.raises(ConfigError, match=message):
        FewLabels(**given)


def test_a_metric_of_ranks_is_refused():
    with pytest.raises(ConfigError, match="the task's metric is auroc"):
        compare_few_labels([], TaskRows(np.arange(4), np.ones(4, bool), np.arange(4)), "auroc", FewLabels())


def test_the_command_averages_runs_of_one_name(digits, capsys):  # noqa: F811
    model, copy, other, out = (digits / name for name in ("model", "copy", "other", "few"))
    shutil.copytree(model, copy)
    shutil.copytree(model, other)
    np.save(other / "matrix.npy", 2 * np.load(model / "matrix.npy"))
    command = ["benchmark", "few-labels", str(digits), "--out", str(out), "--model", f"m={model}"]
    assert main([*command, f"m={copy}"]) == 2
    assert f"{copy} has the weights of {model}, another m" in capsys.readouterr().err
    command.append(f"m={other}")
    assert main([*command, "--labels-per-class", "5", "--draws", "2", "--num-random", "2"]) == 0
    assert "paired" in capsys.readouterr().out
    table = pd.read_csv(out / "few_labels.csv").set_index(["labels_per_class", "features"])
    assert set(table.loc["5"].index) == {"numbers", "first two", "m (random weights)", "m"}
    assert table.loc[("5", "m"), "num_models"] == 2
    assert table.loc[("all", "m (random weights)"), "fits"] == 2
    assert table.loc[("all", "first two"), "score"] > 0.9


def test_vectors_of_other_kinds(motif_suite, tiny_run, tmp_path, capsys):
    command = ["benchmark", "few-labels", str(motif_suite), "--model", f"m={tiny_run}", "--device", "cpu"]
    command += ["--labels-per-class", "3", "--draws", "2", "--num-random", "1"]
    data = load_task(load_suite(str(motif_suite)).tasks[0], motif_suite / "motif")
    poolings, wanted = Encoder.poolings, []

    def spy(self, rows, kinds, **options):
        wanted.append((self.kind, tuple(kinds), list(rows) == data.rows))
        return poolings(self, rows, kinds, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Encoder, "poolings", spy)
        assert main([*command, "--vectors", "units", "--out", str(tmp_path)]) == 0, capsys.readouterr().err
    assert wanted == [("random", ("units",), True), ("checkpoint", ("units",), True)]
    table = pd.read_csv(tmp_path / "few_labels.csv")
    assert set(table["kind"]) == {"raw", "random", "checkpoint"}
    assert set(table["vectors"]) == {"units"}


def test_vectors_that_a_model_has_not(digits, capsys):  # noqa: F811
    command = ["benchmark", "few-labels", str(digits), "--model", str(digits / "model"), "--out", str(digits / "few")]
    assert main([*command, "--vectors", "units"]) == 2
    assert "--vectors units: this model has vector" in capsys.readouterr().err


def test_raw_features_of_samples(tmp_path, capsys):
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    pixels = rng.random((120, 8, 8)) * 0.2 + np.where(labels[:, None, None], np.eye(8), np.eye(8)[::-1]) * 0.8
    (tmp_path / "lines").mkdir()
    file = tmp_path / "lines" / "x.npz"
    np.savez(file, images=(pixels * 255).astype(np.uint8), labels=labels)
    task = {"classes": ["0", "1"], "metric": "accuracy", "options": {"file": "x.npz"}}
    (tmp_path / "suite.yaml").write_text(
        yaml.safe_dump({"name": "lines", "modality": "image", "tasks": {"lines": task}})
    )
    sizes = "--model.width 32 --model.depth 1 --model.mlp-width 32 --data.patch 4 --steps 3 --batch-size 8".split()
    run, out = str(tmp_path / "run"), tmp_path / "out"
    assert main(["pretrain", "--modality", "image", str(file), "--out", run, *sizes]) == 0
    command = ["benchmark", "few-labels", str(tmp_path), "--model", run, "--out", str(out)]
    assert main([*command, "--labels-per-class", "4", "--draws", "1", "--num-random", "1"]) == 0, capsys.readouterr()
    table = pd.read_csv(out / "few_labels.csv").set_index(["labels_per_class", "features"])
    assert table.loc[("all", "pixels"), "score"] > 0.9  # two diagonals
    assert set(table["best_raw"]) == {"pixels"}


def test_the_suites_of_the_figures_from_their_files(tmp_path, capsys):
    words = ["".join(chr(97 + (i * k + i // 7) % 26) for i in range(1, 8)) for k in range(1, 26)]
    files = [tmp_path / "first.txt", tmp_path / "second.txt"]
    for seed, file in enumerate(files):
        chosen = np.random.default_rng(seed).choice(words, 12_000)
        file.write_text("\n = <unk> = \n" + " ".join(chosen).upper().replace(" ", ", ", 100))
    build_few_labels.main(build_few_labels.Options(out=tmp_path / "suites", texts=tuple(files)))
    assert "few-labels" in capsys.readouterr().out
    folder = tmp_path / "suites" / "text"
    rows, rest = ((folder / name).read_text().splitlines() for name in ("source/rows.txt", "pretrain.txt"))
    suite = load_suite(str(folder))
    found = find_task(suite, suite.tasks[0], folder)
    assert found == folder / "source"
    data = load_task(suite.tasks[0], found)
    assert len(data.train) + len(data.dev) + len(data.test) == 3000
    labels = pd.read_csv(folder / "source" / "labels.csv")["label"]
    assert len(rows) == len(labels) == 3000
    assert list(labels.unique()) == ["first", "second"]
    every = [passage for file in files for passage in build_few_labels.passages(file.read_text())]
    assert sorted(rows + rest) == sorted(every)
    assert {len(row) for row in rows} == {40}
    assert set("".join(rows)) <= set("abcdefghijklmnopqrstuvwxyz ")
    assert "unk" not in rows[0]
    build = build_few_labels.Options
    for options, message in (
        (build(out=tmp_path), "give --images, --cells or --texts"),
        (build(out=tmp_path, texts=tuple(files), counts=tmp_path / "c.npz"), "--counts needs --cells"),
        (build(out=tmp_path, images=tmp_path / "none.gz"), r"none\.gz: no such file"),
    ):
        with pytest.raises(DataError, match=message):
            build_few_labels.main(options)
    files[1].write_text("short")
    with pytest.raises(DataError, match=r"second\.txt: more than 1500 passages of 40 letters are needed, got 0"):
        build_few_labels.main(build_few_labels.Options(out=tmp_path / "suites", texts=tuple(files)))
    with pytest.raises(DataError, match=r"--texts must be two files, got 1"):
        build_few_labels.main(build_few_labels.Options(out=tmp_path / "suites", texts=(files[0],)))
