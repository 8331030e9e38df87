import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from dnar2mae.cli import main
from dnar2mae.config import ModelConfig
from dnar2mae.errors import ConfigError, RunError, SequenceError
from dnar2mae.finetuning import finetune
from dnar2mae.finetuning.options import FinetuneConfig
from dnar2mae.finetuning.problem import outputs_of
from dnar2mae.finetuning.samples import of_letters
from dnar2mae.finetuning.saved import load
from dnar2mae.hub import compare, export
from dnar2mae.hub.tuned import tuned_logits
from dnar2mae.inference import Model
from dnar2mae.models.modernbert import to_classifier
from tests.genome.helpers import random_bases, write_fasta
from tests.random_run import write_run

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]
TRANSFORMER = ModelConfig(backbone="transformer", width=16, depth=2, heads=2, mlp_width=16, local_tokens=16)
TEXTS = [random_bases(np.random.default_rng(9), n) for n in (64, 31, 50)]


def table_of(kind, rng):
    """Sequences and labels that a few steps can learn something of."""
    texts = [random_bases(rng, int(rng.integers(40, 65))) for _ in range(60)]
    share = np.array([(text.count("G") + text.count("C")) / len(text) for text in texts])
    split = ["train"] * 40 + ["dev"] * 10 + ["test"] * 10
    labels = {
        "classes": {"label": np.array(["low", "middle", "high"])[np.digitize(share, [0.45, 0.55])]},
        "labels": {name: (share + rng.normal(0, 0.05, 60) > 0.5).astype(int) for name in ("a", "b")},
        "numbers": {"x": 100 + 50 * share, "y": rng.normal(size=60)},
        "counts": {"label": rng.poisson(30 * share)},
    }[kind]
    return pd.DataFrame({"sequence": texts, "split": split} | labels)


def tune(tmp_path, kind="classes", k=1, model=TRANSFORMER, **settings):
    run = write_run(tmp_path / "pretrained", model, k)
    table = table_of(kind, np.random.default_rng(0))
    table.to_csv(tmp_path / "table.csv", index=False)
    labels = tuple(column for column in table if column not in ("sequence", "split"))
    config = {"model": str(run), "data": str(tmp_path / "table.csv"), "label": labels, "target": kind, "device": "cpu"}
    finetune(FinetuneConfig(**config | {"max_steps": 6, "baselines": False} | settings), tmp_path / "tuned")
    return tmp_path / "tuned"


def tune_bases(tmp_path, bed=False):
    """A run on a class, or a number, of each base of a genome."""
    genome = write_fasta(tmp_path / "g.fa", {f"chr{i}": random_bases(np.random.default_rng(i), 640) for i in range(3)})
    lines = [f"chr{i}\t{s}\t{s + 20}" + ("" if bed else f"\t{s / 7}") for i in range(3) for s in range(0, 600, 40)]
    track = tmp_path / ("t.bed" if bed else "t.bedgraph")
    track.write_text("\n".join(lines) + "\n")
    run = write_run(tmp_path / "pretrained", TRANSFORMER)
    config = {
        "model": str(run),
        "data": str(genome),
        "track": str(track),
        "dev_names": ("chr1",),
        "test_names": ("chr2",),
    }
    finetune(FinetuneConfig(**config, max_steps=6, baselines=False, device="cpu"), tmp_path / "tuned")
    return tmp_path / "tuned"


def logits_of(folder, kind, texts=TEXTS):
    """Logits of a folder in transformers, which has to know every weight in it."""
    transformers = pytest.importorskip("transformers")
    theirs, loading = getattr(transformers, kind).from_pretrained(folder, output_loading_info=True)
    assert type(theirs).__module__.startswith("transformers.models.modernbert")
    assert not any(loading.values()), loading
    batch = transformers.AutoTokenizer.from_pretrained(folder)(texts, return_tensors="pt", padding=True)
    with torch.inference_mode():
        return theirs, theirs.eval()(**batch).logits.numpy()


def predicted(run, texts=TEXTS):
    """What the run itself predicts."""
    tuned = load(run, device="cpu")
    outputs = outputs_of(tuned.network, of_letters(tuned.trained, texts), np.arange(len(texts)))
    flat = tuned.target.predicted(outputs.reshape(-1, outputs.shape[-1]))
    return flat.reshape(*outputs.shape[:-1], -1)


@pytest.mark.parametrize("method", ["full", "lora", "frozen"])
@pytest.mark.parametrize("k", [1, 3])
def test_classes_have_the_probabilities_of_the_run(method, k, tmp_path):
    if method == "lora":
        pytest.importorskip("peft")
    run = tune(tmp_path, k=k, method=method)
    model, logits = logits_of(export(run, tmp_path / "out"), "AutoModelForSequenceClassification")
    assert type(model).__name__ == "ModernBertForSequenceClassification"
    assert model.config.id2label == {0: "high", 1: "low", 2: "middle"}
    assert model.config.problem_type == "single_label_classification"
    temperature = json.loads((run / "target.json").read_text())["temperature"]
    assert temperature != 1
    np.testing.assert_allclose(torch.from_numpy(logits).softmax(-1), predicted(run), atol=1e-5)
    np.testing.assert_allclose(logits, tuned_logits(load(run, device="cpu"), TEXTS), atol=1e-5)
    assert np.ptp(logits, axis=0).min() > 1e-3  # it depends on the sequence


@pytest.mark.parametrize(
    ("kind", "problem", "columns", "meaning"),
    [
        ("labels", "multi_label_classification", ["a", "b"], lambda x: 1 / (1 + np.exp(-x))),
        ("numbers", "regression", ["x", "y"], lambda x: x),
        ("counts", "regression", ["label"], np.exp),
    ],
)
def test_other_labels_mean_what_the_card_says(kind, problem, columns, meaning, tmp_path):
    run = tune(tmp_path, kind)
    model, logits = logits_of(export(run, tmp_path / "out"), "AutoModelForSequenceClassification")
    assert list(model.config.id2label.values()) == columns
    assert model.config.problem_type == problem
    expected = predicted(run)
    np.testing.assert_allclose(meaning(logits.astype(np.float64)), expected, rtol=2e-5, atol=1e-5)
    if kind == "numbers":
        assert expected[:, 0].mean() > 90  # in the unit of the labels


def test_the_encoder_of_an_mae_has_no_decoder_in_the_way(tmp_path):
    run = tune(tmp_path, model=replace(TRANSFORMER, objective="mae"))
    _, logits = logits_of(export(run, tmp_path / "out"), "AutoModelForSequenceClassification")
    np.testing.assert_allclose(torch.from_numpy(logits).softmax(-1), predicted(run), atol=1e-5)
    with pytest.raises(RunError, match="predicts labels, not masked tokens; give the run"):
        Model.from_pretrained(tmp_path / "out")


@pytest.mark.parametrize("bed", [True, False])
def test_bases_have_logits_of_their_own(bed, tmp_path):
    run = tune_bases(tmp_path, bed)
    model, logits = logits_of(export(run, tmp_path / "out"), "AutoModelForTokenClassification")
    assert type(model).__name__ == "ModernBertForTokenClassification"
    assert list(model.config.id2label.values()) == (["outside", "inside"] if bed else ["value"])
    expected = predicted(run)
    meant = torch.from_numpy(logits).softmax(-1).numpy() if bed else logits
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(meant[row, : len(text)], expected[row, : len(text)], rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e4])
def test_the_head_is_exact_whatever_the_size_of_its_weights(size):
    """The published head with these weights, against the linear layer that it stands for, for vectors of any size."""
    torch.manual_seed(0)
    head, bias = torch.randn(5, 32) * size, torch.randn(5) * size
    weights = to_classifier({}, head, bias)
    vectors = torch.randn(64, 32) * torch.logspace(-2, 2, 64)[:, None]
    dense = vectors @ weights["head.dense.weight"].T
    normed = torch.nn.functional.layer_norm(dense, (32,), weights["head.norm.weight"], eps=1e-5)
    found = normed @ weights["classifier.weight"].T + weights["classifier.bias"]
    expected = vectors @ head.T + bias
    assert ((found - expected).abs() / expected.abs().amax(1, keepdim=True)).max() < 2e-5


def test_it_is_compared_on_the_command_line(tmp_path, capsys):
    pytest.importorskip("transformers")
    run = tune(tmp_path)
    genome = write_fasta(tmp_path / "other.fa", {"chr1": random_bases(np.random.default_rng(5), 3000)})
    argv = ["export", str(run), "--to", str(tmp_path / "out"), "--license", "cc-by-4.0", "--check", str(genome)]
    assert main([*argv, "--json"]) == 0
    check = json.loads(capsys.readouterr().out)["check"]
    assert check["windows"] == 16
    assert check["largest"] < 1e-5 < check["scale"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "license: cc-by-4.0" in card
    assert "The softmax of the logits is the probability of each class: high, low, middle." in card
    assert "| mcc | " in card
    assert main(argv) == 2
    assert "--overwrite" in capsys.readouterr().err
    unknown = write_fasta(tmp_path / "n.fa", {"chr1": "ACGN" * 500})
    with pytest.raises(SequenceError, match="every window has an unknown base"):
        compare(run, tmp_path / "out", unknown)


def test_bases_are_compared_where_they_are_known(tmp_path):
    pytest.importorskip("transformers")
    run = tune_bases(tmp_path)
    genome = write_fasta(tmp_path / "n.fa", {"chr1": "ACGGATTAN" * 300})
    parity = compare(run, export(run, tmp_path / "out"), genome)
    assert parity.largest < 1e-5 * max(parity.scale, 1)


def test_what_has_no_counterpart_is_refused(tmp_path):
    cnn = tune(tmp_path, model=ModelConfig(backbone="cnn", width=16, depth=2))
    with pytest.raises(RunError, match="labels for a Transformer only, got --model.backbone cnn"):
        export(cnn, tmp_path / "out")
    three = tune(tmp_path / "three", model=ModelConfig(backbone="transformer", width=2, depth=1, heads=1, mlp_width=8))
    with pytest.raises(RunError, match="a ModernBERT of width 2 has room for 1 outputs, got 3"):
        export(three, tmp_path / "out")
    parts = tune(tmp_path / "parts", pooling="parts")
    with pytest.raises(RunError, match="this one the parts of a sequence; tune it with --pooling vector"):
        export(parts, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    run = tune(tmp_path / "whole")
    (run / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="--to must not write over an input"):
        export(run, run, overwrite=True)
