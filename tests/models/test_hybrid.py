import pytest
import torch

from dnar2mae.batch import Layout
from dnar2mae.config import ModelConfig
from dnar2mae.models.backbone import build_encoder
from dnar2mae.models.cnn import ConvLayer
from dnar2mae.models.transformer import Layer

SIZES = {"width": 32, "depth": 4, "heads": 2, "mlp_width": 48, "global_every": 2, "conv_kernel": 5}
PACKED = Layout(axes=(24,), tokens=24, aligned=False, packed=True)


def encoder_of(backbone, layout=PACKED, **settings):
    torch.manual_seed(0)
    encoder = build_encoder(ModelConfig(backbone=backbone, **SIZES | settings), layout)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2 + (parameter.ndim == 1))
    return encoder


def test_attention_is_the_last_of_each_group_and_takes_no_part_in_the_dilations():
    layers = encoder_of("hybrid", depth=9, global_every=3).layers
    assert [isinstance(layer, Layer) for layer in layers] == [False, False, True] * 3
    assert [layer.conv.dilation[0] for layer in layers if isinstance(layer, ConvLayer)] == [1, 2, 4, 8, 16, 32]


@pytest.mark.parametrize("backbone", ["cnn", "hybrid"])
def test_documents_of_one_row_are_encoded_as_if_each_were_alone(backbone):
    encoder = encoder_of(backbone)
    x = torch.randn(3, 24, 32)
    lengths = ((10, 3, 11), (20,), (1, 1, 8))
    documents = torch.full((3, 24), -1, dtype=torch.int32)
    for row, of_row in enumerate(lengths):
        start = 0
        for number, length in enumerate(of_row):
            documents[row, start : start + length] = 2 * number + 5  # numbers need not be consecutive
            start += length
    encoded = encoder.encode(x, documents, lengths)
    torch.testing.assert_close(encoded, encoder.encode(x, documents))  # the lengths follow from the documents
    assert (encoded[documents < 0] == 0).all()
    for row, of_row in enumerate(lengths):
        for part, alone in zip(
            x[row].split([*of_row, 24 - sum(of_row)]), encoded[row].split([*of_row, 24 - sum(of_row)]), strict=True
        ):
            if len(part) in of_row and alone.any():
                torch.testing.assert_close(alone, encoder.encode(part[None], None)[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("backbone", ["cnn", "hybrid"])
def test_gradients_reach_all_tokens_and_no_padding(backbone):
    encoder = encoder_of(backbone)
    x = torch.randn(2, 24, 32, requires_grad=True)
    documents = torch.where(torch.arange(24) < torch.tensor([[24], [9]]), 0, -1)
    encoder.encode(x, documents).square().sum().backward()
    assert (x.grad.abs().sum(-1) > 0).equal(documents >= 0)


def test_a_hybrid_of_a_grid_sees_all_of_it():
    encoder = encoder_of("hybrid", Layout(axes=(6, 6), tokens=36), conv_kernel=3)
    x = torch.randn(1, 36, 32, requires_grad=True)
    encoder.encode(x, None)[0, 0].sum().backward()
    assert (x.grad[0].abs().sum(-1) > 0).all()
