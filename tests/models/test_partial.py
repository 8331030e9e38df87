import pytest
import torch

from dnar2mae.config import ModelConfig
from dnar2mae.models.partial import encode_span
from dnar2mae.models.transformer import Transformer


@pytest.mark.parametrize("global_every", [1, 2, 3, 9])
@pytest.mark.parametrize("span", [(0, 1), (37, 38), (20, 45), (69, 70), (0, 70)])
def test_a_span_equals_that_part_of_the_whole(global_every, span):
    config = ModelConfig(width=16, depth=5, heads=2, mlp_width=24, global_every=global_every, local_tokens=8)
    encoder = Transformer(config)
    x = torch.randn(3, 70, 16)
    whole = encoder(x).detach()
    torch.testing.assert_close(encode_span(encoder, x, *span), whole[:, slice(*span)], atol=1e-5, rtol=1e-5)


def test_what_is_outside_the_span_is_not_computed():
    encoder = Transformer(ModelConfig(width=16, depth=6, heads=2, mlp_width=24, global_every=3, local_tokens=8))
    sizes = []
    for layer in encoder.layers:
        layer.mlp_in.register_forward_hook(lambda _, inputs, __: sizes.append(inputs[0].shape[1]))
    encode_span(encoder, torch.randn(1, 70, 16), 30, 31)
    assert sizes == [70, 70, 70, 17, 9, 1]
