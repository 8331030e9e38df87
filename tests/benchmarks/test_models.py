import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dnar2mae.benchmarks.models.checkpoint import from_checkpoint
from dnar2mae.benchmarks.models.cnn import SmallCnn, small_cnn, tokenize
from dnar2mae.benchmarks.models.encoder import pad
from dnar2mae.benchmarks.models.huggingface import from_huggingface
from dnar2mae.benchmarks.running.cells import load_encoder
from dnar2mae.benchmarks.tasks.sequences import reverse_complement
from dnar2mae.errors import ConfigError, RunError
from dnar2mae.finetuning.kmers import kmer_counts
from dnar2mae.inference import is_trained_model

from .conftest import motif_rows

SEQUENCES = [sequence for sequence, _ in motif_rows(7, 0)] + ["ACGTN", "AC" * 40]


@pytest.fixture
def bert(tmp_path):
    """A tiny BERT folder with a character tokenizer, as stock transformers writes it."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {t: i for i, t in enumerate(["[PAD]", "[CLS]", "[SEP]", "[UNK]", *"ACGTN"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(tmp_path)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(vocab_size=9, max_position_embeddings=64, **sizes)
    BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path)
    return tmp_path


def test_embedding_is_the_mean_of_each_sequence_alone(tiny_run):
    encoder = from_checkpoint("tiny", tiny_run, "cpu")
    together = encoder.embed(SEQUENCES, batch_tokens=200)
    for sequence, vector in zip(SEQUENCES, together, strict=True):
        batch = encoder.collate([encoder.tokenize(sequence)])
        with torch.inference_mode():
            alone = encoder.module(batch.ids, batch.valid)[0].mean(0).numpy()
        np.testing.assert_allclose(vector, alone, rtol=2e-5, atol=2e-6)


def test_both_strands_make_embeddings_equal_for_the_reverse_complement(tiny_run):
    encoder = from_checkpoint("tiny", tiny_run, "cpu")
    turned = [reverse_complement(sequence) for sequence in SEQUENCES]
    there, back = (encoder.embed(s, both_strands=True) for s in (SEQUENCES, turned))
    np.testing.assert_allclose(there, back, rtol=1e-5, atol=1e-6)
    assert np.abs(encoder.embed(SEQUENCES) - encoder.embed(turned)).max() > 1e-4


def test_random_control_differs_by_seed_only(tiny_run):
    encoder = from_checkpoint("tiny", tiny_run, "cpu")
    one, again, two = (encoder.with_random_weights(seed).embed(SEQUENCES) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - two).max() > 1e-3
    assert encoder.with_random_weights(1).num_parameters == encoder.num_parameters


def test_huggingface_folder(bert):
    encoder = from_huggingface("bert", bert, "cpu")
    assert (encoder.tokenization, encoder.context_tokens, encoder.width) == ("base", 64, 16)
    vectors = encoder.embed(SEQUENCES[:-1])
    batch = encoder.collate([encoder.tokenize(SEQUENCES[0])])
    with torch.inference_mode():
        hidden = encoder.module.model(batch.ids).last_hidden_state[0]
    np.testing.assert_allclose(vectors[0], hidden[1:-1].mean(0).numpy(), rtol=1e-5, atol=1e-6)
    assert np.abs(encoder.with_random_weights(0).embed(SEQUENCES[:1]) - vectors[:1]).max() > 1e-4


def test_too_long_sequences_are_an_error_unless_allowed_or_few(bert):
    encoder = from_huggingface("bert", bert, "cpu")
    with pytest.raises(ConfigError, match="bert: 1 of 9 sequences are longer than its context of 64 tokens; --allow"):
        encoder.embed(SEQUENCES)
    assert encoder.embed(SEQUENCES, allow_truncation=True).shape == (9, 16)
    assert len(encoder.tokens(SEQUENCES[:1] * 99 + SEQUENCES[-1:])[-1].ids) == 64


def test_a_sequence_shorter_than_a_token_is_named(tiny_run):
    encoder = from_checkpoint("tiny", tiny_run, "cpu")
    with pytest.raises(ConfigError, match="tiny: a sequence of 0 bp has no token"):
        encoder.tokens(["ACGT", ""])


def test_folders_that_cannot_be_used(bert, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    with pytest.raises(RunError, match="no such folder"):
        load_encoder(str(folder / "none"), "cpu", False)
    with pytest.raises(RunError, match=r"config.json: cannot be read"):
        load_encoder(str(folder), "cpu", False)
    (folder / "config.json").write_text(json.dumps({"model_type": "dnazilla"}))
    (folder / "modeling.py").write_text("raise SystemExit('ran')")
    with pytest.raises(RunError, match="'dnazilla'.*own code .modeling.py.; read that code, then give --trust-remote"):
        load_encoder(str(folder), "cpu", False)
    (bert / "model.safetensors").unlink()
    with pytest.raises(RunError, match="transformers cannot read this folder"):
        from_huggingface("x", bert, "cpu")


def test_which_folders_are_ours(tiny_run, bert):
    assert is_trained_model(tiny_run)
    assert is_trained_model(next((tiny_run / "checkpoints").iterdir()))
    assert not is_trained_model(bert)


def test_kmer_counts():
    sequences = ["ACGT", "AANAA", "C"]
    table = kmer_counts(sequences, 2).toarray() ** 2
    index = {b + c: 4 + 4 * i + j for i, b in enumerate("ACGT") for j, c in enumerate("ACGT")}
    assert table[0, :4].tolist() == [1, 1, 1, 1]
    assert table[0, [index["AC"], index["CG"], index["GT"]]].tolist() == [1, 1, 1]
    assert table[1, 0] == pytest.approx(4)
    assert table[1, index["AA"]] == pytest.approx(2)
    assert table[1, 4:].sum() == pytest.approx(2)
    assert table[2].sum() == 1
    turned = [reverse_complement(sequence) for sequence in sequences]
    one, other = (kmer_counts(s, 3).toarray() for s in (sequences, turned))
    assert np.abs(one - other).max() > 0


def test_cnn_has_the_published_size_and_gives_logits():
    network = SmallCnn(500, 2)
    convolutions = 100 * 16 * 8 + 16 + 16 * 8 * 8 + 8 + 8 * 4 * 8 + 4
    assert sum(p.numel() for p in network.convolutions.parameters()) == convolutions + 2 * (16 + 8 + 4)
    batch = pad([tokenize("ACGT" * 30), tokenize("AC" * 300)], 5)
    logits = small_cnn(500, 3, seed=0).eval()(*batch)
    assert logits.shape == (2, 3)
    assert not torch.allclose(logits.exp().sum(1), torch.ones(2))


def test_cnn_reads_bases_as_the_embedding_and_first_convolution_do():
    network = small_cnn(80, 2, seed=0)
    ids = pad([tokenize("ACGTN" * 16), tokenize("GATTACA")], 5).ids
    expected = network.convolutions[0](network.embedding(ids).transpose(1, 2))
    found = network.first(ids)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    weights = network.convolutions[0].weight, network.embedding.weight
    ours, theirs = (torch.autograd.grad(x.square().sum(), weights) for x in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_bf16_vectors_are_close_to_fp32_ones(tiny_run):
    encoder = from_checkpoint("tiny", tiny_run, "cpu")
    exact, rounded = encoder.embed(SEQUENCES), replace(encoder, precision="bf16").embed(SEQUENCES)
    assert rounded.dtype == np.float32
    assert 0 < np.sqrt(np.square(exact - rounded).mean()) < 0.02 * exact.std()
