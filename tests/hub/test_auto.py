import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from dnar2mae.config import BACKBONES, DataConfig, ModelConfig, PretrainConfig, TokenizerConfig
from dnar2mae.errors import RunError
from dnar2mae.hub import compare, export
from dnar2mae.inference import Model, is_trained_model
from dnar2mae.models.modernbert import has_form
from dnar2mae.training.pretrain import pretrain
from tests.random_run import write_run

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
OTHERS = [name for name in BACKBONES if not has_form(ModelConfig(backbone=name))]
SEQUENCES = [name for name in OTHERS if name != "mlp"]  # it takes samples of one length
KINDS = (transformers.AutoModelForMaskedLM, transformers.AutoModel)
SIZES = ModelConfig(width=16, depth=3, heads=2, mlp_width=16)


@pytest.fixture(params=SEQUENCES)
def run(request, tmp_path):
    return write_run(tmp_path / "run", replace(SIZES, backbone=request.param))


def opened(folder, kind=transformers.AutoModelForMaskedLM):
    theirs, loading = kind.from_pretrained(folder, output_loading_info=True)
    assert not any(loading.values()), loading
    return theirs


def batch_of(folder, texts):
    return transformers.AutoTokenizer.from_pretrained(folder)(texts, return_tensors="pt", padding=True)


def test_logits_loss_and_hidden_states_of_a_padded_batch(run, tmp_path):
    folder, ours = export(run, tmp_path / "out"), Model.from_pretrained(run, device="cpu").module
    batch = batch_of(folder, ["ACGTNACGTTGACCAAGT", "GATTACA", "ACG"])
    theirs, valid = opened(folder), batch["attention_mask"].bool()
    labels = torch.where(torch.rand(valid.shape) < 0.5, batch["input_ids"], -100)
    labels[0, :6] = batch["input_ids"][0, :6]  # an N, which is never predicted, and does not count
    found = theirs(**batch, labels=labels, output_hidden_states=True)
    hidden = ours(batch["input_ids"], valid)
    logits = ours.logits(hidden)
    torch.testing.assert_close(found.logits, logits, rtol=0, atol=1e-6)
    counted = labels >= 4
    assert counted.sum() < (labels >= 0).sum()
    torch.testing.assert_close(found.loss, F.cross_entropy(logits[counted], labels[counted]))
    assert len(found.hidden_states) == 1 + SIZES.depth
    torch.testing.assert_close(found.hidden_states[0], ours.embedder(batch["input_ids"]))
    torch.testing.assert_close(found.hidden_states[-1], hidden)
    alone = theirs(batch["input_ids"][1:2, :7], output_hidden_states=True)
    for together, single in zip(found.hidden_states, alone.hidden_states, strict=True):
        torch.testing.assert_close(together[1:2, :7], single, atol=1e-5, rtol=1e-5)
    assert len(theirs(**batch, labels=labels, return_dict=False)) == 2


def test_rows_of_the_table_stand_for_tokens_and_get_gradients(run, tmp_path):
    theirs, base = (opened(export(run, tmp_path / "out", overwrite=True), kind) for kind in KINDS)
    batch = batch_of(tmp_path / "out", ["ACGTNACGTTGACCAAGT", "GATTACA", "ACG"])
    one_hot = F.one_hot(batch["input_ids"], 8).float().requires_grad_()
    rows = one_hot @ theirs.get_input_embeddings().weight
    found = theirs(inputs_embeds=rows, attention_mask=batch["attention_mask"], output_hidden_states=True)
    expected = theirs(**batch, output_hidden_states=True)
    for one, other in zip(
        (found.logits, *found.hidden_states), (expected.logits, *expected.hidden_states), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    hidden = base(inputs_embeds=rows, attention_mask=batch["attention_mask"]).last_hidden_state
    torch.testing.assert_close(hidden, expected.hidden_states[-1], rtol=0, atol=1e-6)
    (gradient,) = torch.autograd.grad(found.logits[0, 5, 4], one_hot)
    assert gradient[0].abs().sum(-1).min() > 0  # every base of the sequence counts
    assert not gradient[1:].any()  # and no other sequence
    step = torch.zeros_like(one_hot)
    step[0, 7] = torch.linspace(-1, 1, 8)
    ahead, behind = (
        theirs(inputs_embeds=(one_hot + sign * 1e-2 * step) @ theirs.get_input_embeddings().weight).logits[0, 5, 4]
        for sign in (1, -1)
    )
    rows = one_hot @ theirs.get_input_embeddings().weight
    alone = theirs(inputs_embeds=rows).logits[0, 5, 4]  # all of one length, as in the two before
    (gradient,) = torch.autograd.grad(alone, one_hot)
    assert ((ahead - behind) / 2e-2).item() == pytest.approx((gradient * step).sum().item(), rel=2e-2, abs=1e-4)
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        theirs(batch["input_ids"], inputs_embeds=rows)


def test_the_base_model_and_its_gradients(run, tmp_path):
    folder = export(run, tmp_path / "out")
    batch = batch_of(folder, ["ACGTTGA", "ACG"])
    base = opened(folder, transformers.AutoModel)
    hidden = base(**batch)
    assert hidden.hidden_states is None
    whole = opened(folder)
    torch.testing.assert_close(hidden.last_hidden_state, whole(**batch, output_hidden_states=True).hidden_states[-1])
    whole.train()
    whole(**batch, labels=batch["input_ids"]).loss.backward()
    expected = [parameter.grad.clone() for parameter in whole.parameters()]
    whole.zero_grad()
    whole.gradient_checkpointing_enable()
    assert whole.network.encoder.gradient_checkpointing
    whole(**batch, labels=batch["input_ids"]).loss.backward()
    for parameter, grad in zip(whole.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, grad)


@pytest.mark.parametrize("kmer", [(1, 1), (3, 1), (6, 6)], ids=str)
@pytest.mark.parametrize("backbone", OTHERS)
def test_round_trips_are_exact(backbone, kmer, tmp_path):
    run = write_run(tmp_path / "run", replace(SIZES, backbone=backbone, conv_kernel=5), *kmer)
    first = Model.from_pretrained(run, device="cpu")
    folder = export(run, tmp_path / "out")
    opened(folder).save_pretrained(tmp_path / "saved")
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "saved")
    for path in (folder, tmp_path / "saved", export(tmp_path / "saved", tmp_path / "twice")):
        assert is_trained_model(path)
        back = Model.from_pretrained(path, device="cpu")
        assert back.config == first.config
        assert (back.tokenizer.k, back.tokenizer.stride) == (first.tokenizer.k, first.tokenizer.stride)
        weights = back.module.state_dict()
        assert all(torch.equal(weights[name], value) for name, value in first.module.state_dict().items())
        text = "ACGT" * (back.window_bp // 4 + 1)
        assert np.array_equal(back.embed([text[: back.window_bp]]), first.embed([text[: back.window_bp]]))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_opens_with_equal_logits(backbone, tmp_path):
    run = write_run(tmp_path / "run", replace(SIZES, backbone=backbone, global_every=2, local_tokens=8))
    ours, theirs = Model.from_pretrained(run, device="cpu").module, opened(export(run, tmp_path / "out"))
    tokens = torch.randint(1, 8, (3, 64))  # [MASK] and N, too
    with torch.inference_mode():
        expected = ours.logits(ours(tokens))
        rows = theirs.get_input_embeddings()(tokens)
        for found in (theirs(input_ids=tokens), theirs(inputs_embeds=rows)):
            difference = (found.logits - expected)[..., 4:].abs().max().item()
            assert difference < 1e-5


def test_new_weights_follow_the_global_generator(run, tmp_path):
    folder = export(run, tmp_path / "out")
    config = transformers.AutoConfig.from_pretrained(folder)
    assert (config.vocab_size, config.hidden_size, config.num_hidden_layers) == (8, 16, 3)
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(transformers.AutoModel.from_config(config).state_dict())
    names = [name for name, value in drawn[0].items() if value.ndim > 1]
    assert all(torch.equal(drawn[0][name], value) for name, value in drawn[1].items())
    assert not any(torch.equal(drawn[0][name], drawn[2][name]) for name in names)
    weights = load_file(folder / "model.safetensors")
    missing = names[-1]
    save_file({n: w for n, w in weights.items() if n != missing}, folder / "model.safetensors", {"format": "pt"})
    filled = transformers.AutoModelForMaskedLM.from_pretrained(folder).state_dict()
    assert all(torch.equal(filled[name], value) for name, value in weights.items() if name != missing)
    assert 0 < filled[missing].abs().max() < 1


def test_fill_mask(run, tmp_path):
    folder = export(run, tmp_path / "out")
    ours = Model.from_pretrained(run, device="cpu")
    answers = transformers.pipeline("fill-mask", str(folder))("ACGTTG[MASK]attaca")[:4]
    shown = torch.from_numpy(ours.tokenizer.encode_text("ACGTTGNATTACA"))[None].long()
    shown[0, 6] = ours.tokenizer.vocabulary.mask_id
    expected = ours.module.logits(ours.module(shown))[0, 6].softmax(-1)
    assert {answer["token_str"] for answer in answers} == set("ACGT")
    for answer in answers:
        assert answer["score"] == pytest.approx(expected[answer["token"]].item(), abs=1e-5)


def test_an_export_is_compared_with_its_source(run, fasta, tmp_path):
    folder = export(run, tmp_path / "out")
    found = compare(run, folder, fasta)
    assert found.windows == 16
    assert found.largest < 1e-5
    assert found.scale > 0.1
    weights = load_file(folder / "model.safetensors")
    weights["network.encoder.final_norm.weight"] *= 1.1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert compare(run, folder, fasta).largest > 1e-3


def test_the_card_says_what_to_import(run, tmp_path):
    card = (export(run, tmp_path / "out") / "README.md").read_text()
    backbone = Model.from_pretrained(run, device="cpu").config.backbone
    assert f"`Dnar2maeForMaskedLM` with the backbone `{backbone}`" in card
    assert "import dnar2mae.hub\nfrom transformers import pipeline\n" in card
    assert "modernbert" not in card.lower()


def test_what_does_not_fit_is_refused_in_one_line(tmp_path):
    folder = export(write_run(tmp_path / "run", replace(SIZES, backbone=SEQUENCES[0])), tmp_path / "out")
    config = json.loads((folder / "config.json").read_text())

    def refused(match, **change):
        (folder / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(RunError, match=match) as error:
            Model.from_pretrained(folder)
        assert "\n" not in str(error.value)

    refused("config.json: model: expected a mapping of settings to values, got None", model=None)
    refused("model: unknown key stride", model=config["model"] | {"stride": 2})
    refused("model: .*backbone", model=config["model"] | {"backbone": "rnn"})
    refused("out: does not fit the model: ", model=config["model"] | {"width": 32})
    refused("vocabulary: .*size is missing", vocabulary={n: v for n, v in config["vocabulary"].items() if n != "size"})
    refused("vocabulary is not that of tokenizer.json", vocabulary=config["vocabulary"] | {"pad_id": 3})
    refused("max_position_embeddings must be a number of tokens, got 0", max_position_embeddings=0)
    (folder / "config.json").write_text("[]")
    with pytest.raises(RunError, match="expected a mapping of settings to values, got a list"):
        Model.from_pretrained(folder)


def test_pretraining_goes_on_from_an_export(run, fasta, tmp_path):
    folder = export(run, tmp_path / "out")
    config = PretrainConfig(
        data=DataConfig(genomes=(str(fasta),), window_bp=64),
        tokenizer=TokenizerConfig(),
        steps=1,
        batch_size=2,
        validation_windows=4,
        device="cpu",
        init=str(folder),
    )
    pretrain(config, tmp_path / "second")
    assert Model.from_pretrained(tmp_path / "second").config == Model.from_pretrained(run).config


def test_importing_the_package_imports_neither_torch_nor_transformers():
    code = "import sys, dnar2mae; print([name for name in ('torch', 'transformers') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
