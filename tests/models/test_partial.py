import itertools

import numpy as np
import pytest
import torch

from dnar2mae.batch import SEQUENCE, Layout
from dnar2mae.config import ModelConfig
from dnar2mae.models.backbone import build_encoder
from dnar2mae.models.transformer import Transformer

SIZES = {"width": 16, "heads": 2, "mlp_width": 24, "local_tokens": 8}
SPANS = [(0, 1), (37, 38), (20, 45), (69, 70), (0, 70)]


def check(encoder, span, length=70):
    x = torch.randn(3, length, 16)
    whole = encoder.encode(x, None).detach()
    torch.testing.assert_close(encoder.encode_span(x, *span), whole[:, slice(*span)], atol=1e-5, rtol=1e-5)
    apart = np.unique([0, *range(*span, 4), length - 1])
    torch.testing.assert_close(encoder.encode_at(x, apart), whole[:, apart], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("global_every", [1, 2, 3, 9])
@pytest.mark.parametrize("span", SPANS)
def test_a_span_equals_that_part_of_the_whole(global_every, span):
    check(build_encoder(ModelConfig(depth=5, global_every=global_every, **SIZES), SEQUENCE), span)


@pytest.mark.parametrize("depth", [1, 6, 8])  # dilations begin anew after six layers
@pytest.mark.parametrize("kernel", [None, 3, 1])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("span", "length"), [*((span, 70) for span in SPANS), ((0, 1), 1), ((300, 302), 700)])
def test_a_span_of_dilated_convolutions(depth, kernel, groups, span, length):
    config = ModelConfig(backbone="cnn", depth=depth, conv_kernel=kernel, conv_groups=groups, **SIZES)
    check(build_encoder(config, SEQUENCE), span, length)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("span", SPANS)
def test_a_span_of_convolutions_and_attention(span, groups):
    config = ModelConfig(backbone="hybrid", depth=6, global_every=3, conv_groups=groups, **SIZES)
    check(build_encoder(config, SEQUENCE), span)


@pytest.mark.parametrize("backbone", ["cnn", "hybrid", "mlp", "transformer"])
def test_a_span_of_a_grid(backbone):
    check(build_encoder(ModelConfig(backbone=backbone, depth=2, **SIZES), Layout(axes=(7, 10), tokens=70)), (33, 35))


def computed(backbone, depth, length):
    encoder = build_encoder(ModelConfig(backbone=backbone, depth=depth, global_every=3, **SIZES), SEQUENCE)
    sizes = []
    for layer in encoder.layers:
        layer.mlp_in.register_forward_hook(lambda _, inputs, __: sizes.append(inputs[0].shape[1]))
    encoder.encode_span(torch.randn(1, length, 16), length // 2, length // 2 + 1)
    return sizes


def test_what_is_outside_the_span_is_not_computed():
    assert computed("transformer", 6, 70) == [70, 70, 70, 17, 9, 1]
    assert computed("cnn", 6, 512) == [249, 121, 57, 25, 9, 1]
    assert computed("cnn", 7, 2048) == [505, 489, 457, 225, 81, 9, 1]


GRID = Layout(axes=(7, 10), tokens=70)


@pytest.mark.parametrize(
    ("backbone", "layout"),
    [*itertools.product(("cnn", "hybrid", "transformer"), (SEQUENCE, GRID)), ("mlp", GRID)],
    ids=lambda value: value if isinstance(value, str) else "grid" if value is GRID else "sequence",
)
@pytest.mark.parametrize("depth", [1, 4])
def test_rows_equal_those_of_the_whole_and_so_do_gradients(backbone, layout, depth):
    encoder = build_encoder(ModelConfig(backbone=backbone, depth=depth, global_every=2, **SIZES), layout).double()
    rows = torch.tensor([0, 3, 69, 70, 139, 140, 209, 0, 0])  # ends of samples, and padding behind
    results = []
    for some in (False, True):
        x = torch.randn(3, 70, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
        out = encoder.encode_rows(x, None, None, rows) if some else encoder.encode(x, None).flatten(0, 1)[rows]
        (out * torch.arange(1, 17)).cos().sum().backward()
        results.append([out.detach(), x.grad, *(parameter.grad.clone() for parameter in encoder.parameters())])
        encoder.zero_grad()
    for whole, part in zip(*results, strict=True):
        torch.testing.assert_close(part, whole, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("backbone", ["cnn", "hybrid", "transformer"])
def test_rows_of_documents_equal_those_of_the_whole(backbone):
    encoder = build_encoder(ModelConfig(backbone=backbone, depth=4, global_every=2, **SIZES), SEQUENCE)
    documents = torch.tensor([[0] * 30 + [1] * 40, [0] * 50 + [-1] * 20])
    x, rows = torch.randn(2, 70, 16), torch.tensor([1, 29, 30, 69, 70, 119])
    whole = encoder.encode(x, documents).flatten(0, 1)[rows]
    torch.testing.assert_close(encoder.encode_rows(x, documents, None, rows), whole)


@pytest.mark.parametrize("backbone", ["cnn", "hybrid", "transformer"])
def test_the_last_layer_is_computed_at_the_rows_alone(backbone):
    encoder = build_encoder(ModelConfig(backbone=backbone, depth=4, global_every=2, **SIZES), SEQUENCE)
    shapes = []
    for layer in encoder.layers:
        layer.mlp_in.register_forward_hook(lambda _, inputs, __: shapes.append(inputs[0].shape[:-1].numel()))
    encoder.encode_rows(torch.randn(2, 70, 16), None, None, torch.arange(5))
    assert shapes == [140, 140, 140, 5]


def test_a_subclass_that_encodes_otherwise_is_asked_for_all():
    class Doubled(Transformer):
        def encode(self, x, documents, lengths=None):
            return 2 * super().encode(x, documents, lengths)

    encoder, x = Doubled(ModelConfig(depth=2, **SIZES)), torch.randn(2, 20, 16)
    rows = torch.tensor([3, 25])
    torch.testing.assert_close(encoder.encode_rows(x, None, None, rows), encoder.encode(x, None).flatten(0, 1)[rows])


@pytest.mark.parametrize("share", [0.1, 0.9])  # by what is gathered, and by all of the convolution
def test_rows_of_a_wide_kernel(share):
    encoder = build_encoder(ModelConfig(backbone="cnn", depth=2, conv_kernel=9, **SIZES), SEQUENCE)
    x, rows = torch.randn(2, 70, 16), torch.arange(int(140 * share))
    torch.testing.assert_close(encoder.encode_rows(x, None, None, rows), encoder.encode(x, None).flatten(0, 1)[rows])
