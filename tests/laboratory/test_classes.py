"""Classes predicted from vectors of runs, with labels and inputs missing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dnar2mae.errors import ConfigError
from dnar2mae.inference import TrainedModel
from dnar2mae.laboratory.downstream import class_columns, read_labelled
from dnar2mae.laboratory.labelled import Labelled
from dnar2mae.masking import Masker
from dnar2mae.masking.draw import hidden_tokens
from dnar2mae.modalities.registry import build_modality
from dnar2mae.models import MaskedModel
from dnar2mae.models.hidden_states import sample_layers
from tests.modalities.kinds import KINDS, dna, image, text


def untrained(config, seed=0):
    modality = build_modality(config)
    model = MaskedModel(config.model, modality.embedder(), modality.head(), modality.layout)
    model.reset_parameters(torch.Generator().manual_seed(seed))
    return TrainedModel(config, modality, model.eval(), "untrained")


def fasta(path, shares, number=120, length=30):
    rng = np.random.default_rng(len(path.name))
    rows = ["".join(rng.choice(list("ACGT"), length + i % 3, p=shares)) for i in range(number)]
    path.write_text("".join(f">{i}\n{row}\n" for i, row in enumerate(rows)))
    return str(path)


@pytest.fixture
def sequences(tmp_path):
    """A model of DNA, and sequences rich or poor in C and G, in files of their own."""
    files = {
        "rich": fasta(tmp_path / "rich.fa", [0.1, 0.4, 0.4, 0.1]),
        "poor": fasta(tmp_path / "poor.fa", [0.4, 0.1, 0.1, 0.4]),
    }
    return untrained(dna(tmp_path)), Labelled(classes=files, length=24)


def test_columns_of_classes(sequences):
    columns = {(row["measure"], row["at"]): row["value"] for row in class_columns(*sequences)}
    missing = [("missing", at) for at in ("0", "0.25", "0.5", "0.75")]
    assert list(columns) == [("labels", "all"), ("few labels", "10"), *missing]
    assert columns["labels", "all"] > 0.85
    assert columns["few labels", "10"] > 0.7
    assert columns["missing", "0"] > 0.85
    assert columns["missing", "0"] > columns["missing", "0.75"]
    again = {(row["measure"], row["at"]): row["value"] for row in class_columns(*sequences)}
    assert again == columns


def test_what_is_missing_is_the_same_for_all_runs(sequences):
    from dnar2mae.laboratory.downstream import _plan

    trained, _ = sequences
    other = replace(
        trained, config=replace(trained.config, seed=9, mask=replace(trained.config.mask, law="fixed", ratio=0.7))
    )
    tokens = torch.full((8, 30), 7)
    hidden = [hidden_tokens(_plan(run, 0.5, 0), tokens, tokens > 0, torch.arange(8))[0] for run in (trained, other)]
    assert torch.equal(*hidden)
    assert 0.3 < hidden[0].float().mean() < 0.7


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "text bpe"])
def test_vectors_do_not_depend_on_what_is_missing(kind, tmp_path):
    pytest.importorskip("anndata") if kind.startswith("cell") else None
    trained = untrained(KINDS[kind](tmp_path))
    batch = trained.modality.validation.batch(np.arange(4))
    plan = Masker(trained.config.mask, trained.modality.vocabulary, 0, 1).plan(0).at_ratio(0.5, 3)
    hidden, _ = hidden_tokens(plan, batch.tokens, batch.maskable, batch.sample_ids)
    if batch.values is None:
        first = trained.modality.vocabulary.first_real
        changed = replace(batch, tokens=torch.where(hidden, torch.full_like(batch.tokens, first), batch.tokens))
    else:
        changed = replace(batch, values=torch.where(hidden[..., None], batch.values + 1, batch.values))
    with torch.inference_mode():
        (before,), (after,) = (sample_layers(trained.model, part, [1], plan) for part in (batch, changed))
        (whole,) = sample_layers(trained.model, batch, [1])
    torch.testing.assert_close(before, after)
    assert not torch.allclose(before, whole)


def test_labels_of_a_file(tmp_path):
    trained = untrained(image(tmp_path))
    pixels = np.random.default_rng(0).random((90, 8, 12)).astype(np.float32)
    np.savez(tmp_path / "labelled.npz", images=pixels, labels=np.arange(90) % 3)
    rows = read_labelled(trained.modality, Labelled(file=str(tmp_path / "labelled.npz"), rows=60))
    assert len(rows.classes) == 60
    assert set(rows.classes.tolist()) == {0, 1, 2}
    splits = [rows.split(name) for name in ("train", "dev", "test")]
    assert sorted(np.concatenate(splits).tolist()) == list(range(60))
    assert len(splits[0]) > len(splits[2]) > 0


def test_texts_are_cut_from_their_middle(tmp_path):
    trained = untrained(text(tmp_path))
    rng, middles = np.random.default_rng(0), []
    for name, letters in (("one", "abcdefgh"), ("two", "ABCDEFGH")):
        drawn = ["".join(rng.choice(list(letters), 10)) for _ in range(100)]
        middles += drawn
        (tmp_path / f"{name}.txt").write_text("short\n" + "".join(f"123{row}456\n" for row in drawn))
    files = {name: str(tmp_path / f"{name}.txt") for name in ("one", "two")}
    rows = read_labelled(trained.modality, Labelled(classes=files, length=10))
    assert rows.classes.tolist() == [0] * 100 + [1] * 100
    assert [trained.modality.text_of(ids) for ids in rows.samples.tokens.numpy()] == middles


def test_labelled_samples_that_cannot_be_used(sequences, tmp_path):
    trained, labelled = sequences
    with pytest.raises(ConfigError, match=r"rich.fa: no sample has labelled.length \(99\) tokens"):
        read_labelled(trained.modality, replace(labelled, length=99))
    few = {name: fasta(tmp_path / f"few-{name}.fa", [0.25] * 4, number=4) for name in ("a", "b")}
    with pytest.raises(ConfigError, match="labelled samples are too few for three splits"):
        read_labelled(trained.modality, Labelled(classes=few, length=24))
    long = {"a": labelled.classes["rich"], "b": fasta(tmp_path / "long.fa", [0.25] * 4, length=40)}
    with pytest.raises(ConfigError, match="differ in length: set labelled.length"):
        read_labelled(trained.modality, Labelled(classes=long))
    with pytest.raises(ConfigError, match="no labels: expected a column 'label'"):
        read_labelled(trained.modality, Labelled(file=labelled.classes["rich"]))
