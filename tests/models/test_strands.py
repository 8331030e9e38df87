"""Weights shared by the strands of DNA: of the reverse complement a model predicts the reverse complement."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from dnar2mae.config import DataConfig, ModelConfig
from dnar2mae.errors import ConfigError, RunError
from dnar2mae.hub.export import export
from dnar2mae.inference import Model
from dnar2mae.models import MaskedModel
from dnar2mae.models.cnn import ConvNet
from dnar2mae.models.strands import StrandSymmetry
from dnar2mae.presets import PRESETS
from dnar2mae.tokenizers import ByteTokenizer, KmerTokenizer
from dnar2mae.training.pretrain import pretrain

SIZES = ModelConfig(backbone="cnn", width=16, depth=3, mlp_width=24, strand_symmetric=True)
TOKENIZER = KmerTokenizer(1)
REAL = TOKENIZER.vocabulary.real


def logits(model, tokens):
    hidden = model(tokens)
    return model.head.logits(hidden, model.embedder)


def reverse_complement(tokens):
    """Reverse the tokens; A, C, G, T become T, G, C, A, and masks stay."""
    is_base = tokens >= REAL.start
    return torch.where(is_base, REAL.start + REAL.stop - 1 - tokens, tokens).flip(1)


def check(model):
    """Check that logits of the reverse complement are the reverse complement of the logits."""
    torch.manual_seed(0)
    tokens = torch.randint(REAL.start, REAL.stop, (3, 90))
    tokens[:, ::7] = TOKENIZER.vocabulary.mask_id
    with torch.no_grad():
        forward, back = logits(model, tokens), logits(model, reverse_complement(tokens))
    expected = back.flip(1)[..., REAL].flip(-1)
    torch.testing.assert_close(forward[..., REAL], expected, rtol=1e-4, atol=1e-4)
    assert forward[..., REAL].std() > 0.01
    return forward


def drawn(config, seed=0):
    model = MaskedModel.of_tokens(config, TOKENIZER.vocabulary)
    model.reset_parameters(torch.Generator().manual_seed(seed))
    return model


@pytest.mark.parametrize("groups", [1, 4])
def test_initial_weights_have_the_symmetry_and_the_spread_of_others(groups):
    sizes = replace(SIZES, conv_groups=groups)
    model, free = drawn(sizes), drawn(replace(sizes, strand_symmetric=False))
    check(model)
    with pytest.raises(AssertionError, match="not close"):
        check(free)
    for (name, tied), other in zip(model.named_parameters(), free.parameters(), strict=True):
        if tied.ndim > 1:
            assert tied.std().item() == pytest.approx(other.std().item(), rel=0.15), name


@pytest.mark.parametrize(
    ("changed", "k", "expected"),
    [({}, 1, True), ({}, 3, False), ({"backbone": "transformer"}, 1, False), ({"strand_symmetric": False}, 1, False)],
)
def test_by_default_what_can_has_the_symmetry(changed, k, expected):
    config = replace(SIZES, **{"strand_symmetric": None, **changed})
    assert (MaskedModel.of_tokens(config, KmerTokenizer(k).vocabulary).symmetry is not None) is expected
    assert PRESETS["tiny"]().model.strand_symmetric is None
    assert MaskedModel.of_tokens(config, ByteTokenizer().vocabulary).symmetry is None


def test_the_exchange_is_its_own_inverse_and_averages_are_symmetric():
    symmetry = StrandSymmetry(TOKENIZER.vocabulary)
    for name, parameter in drawn(replace(SIZES, strand_symmetric=False)).named_parameters():
        value = torch.randn(parameter.shape)
        torch.testing.assert_close(symmetry.exchanged(name, symmetry.exchanged(name, value)), value, rtol=0, atol=0)
        mean = value.clone()
        symmetry.average_([(name, mean), (name, None)])
        assert torch.equal(symmetry.exchanged(name, mean), mean), name
        assert not torch.equal(mean, value), name


@pytest.mark.parametrize("muon", [None, 8e-3])
def test_training_keeps_the_symmetry(muon, tmp_path, fasta):
    preset = PRESETS["tiny"]()
    config = replace(
        preset,
        data=DataConfig(genomes=(str(fasta),), window_bp=64),
        model=SIZES,
        optimizer=replace(preset.optimizer, muon_lr=muon, ema=0.9),
        steps=12,
        batch_size=4,
        precision="fp32",
        device="cpu",
    )
    pretrain(config, tmp_path / "run")
    model = Model.from_pretrained(tmp_path / "run")
    check(model.module)
    symmetry = StrandSymmetry(TOKENIZER.vocabulary)
    for name, weight in model.module.named_parameters():
        assert torch.equal(symmetry.exchanged(name, weight), weight), name
    before = dict(drawn(SIZES).named_parameters())
    assert any(not torch.equal(weight, before[name]) for name, weight in model.module.named_parameters())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MaskedModel.of_tokens(SIZES, KmerTokenizer(3).vocabulary), "single bases"),
        (lambda: drawn(replace(SIZES, backbone="transformer")), "only --model.backbone cnn"),
        (lambda: drawn(replace(SIZES, backbone="hybrid", global_every=2)), "only --model.backbone cnn"),
    ],
)
def test_what_has_no_such_symmetry_is_refused(build, message):
    with pytest.raises(ConfigError, match=message):
        build()


def test_a_backbone_with_other_layers_is_not_taken_for_symmetric():
    class Causal(ConvNet):
        def layer(self, index):
            return super().layer(index)

    class Renamed(ConvNet):
        pass

    assert ConvNet.is_local
    assert Renamed.is_local
    assert not Causal.is_local


def test_weights_that_differ_between_the_strands_start_no_run_that_shares_them(tmp_path, fasta):
    preset = PRESETS["tiny"]()
    data, model = DataConfig(genomes=(str(fasta),), window_bp=64), replace(SIZES, strand_symmetric=None)
    config = replace(preset, data=data, model=model, steps=2, batch_size=4, device="cpu")
    pretrain(config, tmp_path / "first", extras=False)
    folder = export(tmp_path / "first", tmp_path / "folder")
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("mlp_out.weight"))
    weights[name][0, 0] += 0.1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    again = replace(config, init=str(folder))
    with pytest.raises(RunError, match="its weights differ between the strands"):
        pretrain(again, tmp_path / "second", extras=False)
    settings = json.loads((folder / "config.json").read_text())
    settings["model"]["strand_symmetric"] = False
    (folder / "config.json").write_text(json.dumps(settings))
    pretrain(again, tmp_path / "second", extras=False)
    assert Model.from_pretrained(tmp_path / "second").module.symmetry is None
