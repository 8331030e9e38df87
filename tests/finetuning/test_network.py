import numpy as np
import pytest
import torch

from dnar2mae.batch import Layout
from dnar2mae.config import ModelConfig
from dnar2mae.finetuning.network import (
    TunedNetwork,
    make_trainable,
    merged,
    parameter_groups,
    reading_of,
    seeded,
    vectors,
)
from dnar2mae.finetuning.options import TuningSettings
from dnar2mae.models import MaskedModel
from dnar2mae.tokenizers import KmerTokenizer


def model(backbone="transformer", depth=3):
    config = ModelConfig(backbone=backbone, width=16, depth=depth, heads=2, mlp_width=16, global_every=2)
    built = MaskedModel.of_tokens(config, KmerTokenizer().vocabulary, Layout(axes=(32,), tokens=32))
    built.reset_parameters(torch.Generator().manual_seed(0))
    return built


def network(backbone="transformer", method="full", reading="vector", outputs=2):
    base = model(backbone)
    make_trainable(base, method, TuningSettings(lora_rank=2), 0)
    width = 16 * 2 * (1 + 8) if reading == "parts" else 16
    return TunedNetwork(base, outputs, torch.randn(width), torch.rand(width) + 0.5, reading=reading)


def batch(rows=3, length=32):
    ids = KmerTokenizer().encode(np.random.default_rng(0).integers(0, 4, (rows, length), dtype=np.uint8))
    from dnar2mae.batch import Batch

    return Batch.of_arrays(tokens=ids, maskable=np.ones(ids.shape, bool), sample_ids=np.arange(rows))


def factors(built, layer_decay):
    groups = parameter_groups(built, 0.01, layer_decay)
    names = {id(parameter): name for name, parameter in built.named_parameters()}
    return {names[id(parameter)]: group["lr_factor"] for group in groups for parameter in group["params"]}


@pytest.mark.parametrize("backbone", ["transformer", "cnn", "hybrid"])
def test_learning_rates_fall_layer_by_layer_below_the_head(backbone):
    of = factors(network(backbone), 0.5)
    assert of["head.weight"] == of["backbone.encoder.final_norm.weight"] == 1
    for layer in range(3):
        mine = {factor for name, factor in of.items() if f"encoder.layers.{layer}." in name}
        assert mine == {0.5 ** (3 - layer)}
    assert of["backbone.embedder.embedding.weight"] == 0.5**4


def test_the_perceptron_is_numbered_too():
    config = ModelConfig(backbone="mlp", width=16, depth=2)
    base = MaskedModel.of_tokens(config, KmerTokenizer().vocabulary, Layout(axes=(32,), tokens=32))
    of = factors(TunedNetwork(base, 2, torch.zeros(64), torch.ones(64), reading="vector"), 0.5)
    assert of["backbone.encoder.trunk_in.weight"] == of["backbone.embedder.embedding.weight"] == 0.5**3
    assert of["backbone.encoder.trunk_norm.weight"] == 1


def test_norms_and_biases_have_no_weight_decay():
    built = network()
    for group in parameter_groups(built, 0.01):
        assert all((parameter.ndim > 1) == (group["weight_decay"] == 0.01) for parameter in group["params"])


@pytest.mark.parametrize("method", ["full", "lora", "frozen"])
def test_what_learns(method):
    if method == "lora":
        pytest.importorskip("peft")
    built = network(method=method)
    built(batch()).sum().backward()
    learned = {name for name, parameter in built.named_parameters() if parameter.requires_grad}
    # each that learns has a gradient: what predicts masked tokens has no part in it
    assert learned == {name for name, parameter in built.named_parameters() if parameter.grad is not None}
    assert {"head.weight", "head.bias"} <= learned
    if method == "frozen":
        assert learned == {"head.weight", "head.bias"}
    if method == "lora":
        assert all(name.startswith("head.") or ".lora_" in name for name in learned)


@pytest.mark.parametrize("reading", ["vector", "parts", "tokens"])
def test_the_plain_head_reads_vectors_as_they_are(reading):
    built = network(reading=reading).eval()
    inputs = batch()
    with torch.inference_mode():
        read = vectors(built.backbone, inputs, reading)
        torch.testing.assert_close(built.plain_head()(read), built(inputs), rtol=1e-4, atol=1e-5)


def test_parts_hold_what_stands_where():
    base, inputs = model("cnn").eval(), batch(length=30)
    with torch.inference_mode():
        hidden, read = base.encode(inputs), vectors(base, inputs, "parts")
    assert read.shape == (3, 2 * 16 * 9)
    torch.testing.assert_close(read[:, :16], hidden.mean(1))
    torch.testing.assert_close(read[:, 16:32], hidden.amax(1))
    # 30 tokens in eight parts: the first has 4 of them, the last 3
    torch.testing.assert_close(read[:, 32:48], hidden[:, :4].mean(1))
    torch.testing.assert_close(read[:, -16:], hidden[:, -3:].amax(1))


@pytest.mark.parametrize(
    ("backbone", "pooling", "expected"),
    [("cnn", "auto", "parts"), ("transformer", "auto", "vector"), ("transformer", "parts", "parts")]
    + [("cnn", "vector", "vector"), ("mlp", "parts", "vector")],
)
def test_what_a_head_reads(backbone, pooling, expected):
    assert reading_of(model(backbone), "sample", pooling) == expected
    assert reading_of(model(backbone), "base", pooling) == "tokens"


def test_merged_updates_compute_the_same():
    pytest.importorskip("peft")
    built = network(method="lora").eval()
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if ".lora_" in name:
                parameter.add_(torch.randn_like(parameter))
    weights = merged(built.state_dict(), TuningSettings(lora_rank=2))
    plain = TunedNetwork(model(), 2, torch.zeros(16), torch.ones(16), reading="vector").eval()
    plain.load_state_dict(weights)
    with torch.inference_mode():
        torch.testing.assert_close(plain(batch()), built(batch()), rtol=1e-4, atol=1e-5)
        assert (plain(batch()) - network().eval()(batch())).abs().max() > 1e-3


def test_draws_of_a_seed_leave_others_alone():
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    with seeded(1, 2):
        drawn = torch.rand(2)
    assert torch.equal(torch.rand(2), expected)
    with seeded(1, 2):
        assert torch.equal(torch.rand(2), drawn)
