from dataclasses import replace

import pytest
import torch

from dnar2mae.config import ModelConfig, OptimizerConfig
from dnar2mae.errors import ConfigError
from dnar2mae.models import MaskedModel
from dnar2mae.tokenizers import KmerTokenizer
from dnar2mae.training.muon import orthogonalised
from dnar2mae.training.optimizer import build_optimizer
from dnar2mae.training.pretrain import pretrain
from tests.modalities.kinds import dna, image
from tests.test_distributed import losses

MUON = OptimizerConfig(muon_lr=0.01)


def model_with_gradients(**settings):
    sizes = {"width": 32, "depth": 2, "heads": 2, "mlp_width": 48, "backbone": "cnn"} | settings
    model = MaskedModel.of_tokens(ModelConfig(**sizes), KmerTokenizer(1).vocabulary)
    model.reset_parameters(torch.Generator().manual_seed(0))
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    return model


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 48, 16), (2, 16, 48)])
def test_matrices_keep_their_singular_vectors_and_get_values_of_about_1(shape):
    matrices = torch.randn(shape)
    u, s, v = torch.linalg.svd(orthogonalised(matrices), full_matrices=False)
    assert s.max() < 1.25
    assert s.median() > 0.65
    u, s, v = torch.linalg.svd(matrices, full_matrices=False)
    inner = u.mT @ orthogonalised(matrices) @ v.mT  # diagonal in the basis of the singular vectors
    off = inner - torch.diag_embed(inner.diagonal(dim1=1, dim2=2))
    torch.testing.assert_close(off, torch.zeros_like(off), atol=1e-4, rtol=0)
    assert (inner.diagonal(dim1=1, dim2=2) > 0).all()


def test_a_matrix_of_zeros_stays_one():
    assert orthogonalised(torch.zeros(1, 4, 4)).abs().max() == 0


def test_each_tap_of_a_convolution_is_a_matrix():
    model = model_with_gradients()
    conv = model.encoder.layers[0].conv.weight
    before, grad = conv.detach().clone(), conv.grad.clone()
    build_optimizer(model, MUON).step()
    # the first step's direction is that of the gradient: momentum starts at 0
    for tap in range(conv.shape[2]):
        expected = 0.2 * 32**0.5 * orthogonalised(grad[None, :, :, tap])[0] + MUON.weight_decay * before[:, :, tap]
        torch.testing.assert_close((before - conv)[:, :, tap] / MUON.muon_lr, expected, atol=1e-4, rtol=1e-3)


def test_what_is_no_matrix_of_a_layer_is_trained_by_adamw():
    model, plain = model_with_gradients(), model_with_gradients()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        theirs.grad = ours.grad.clone()
    build_optimizer(model, MUON).step()
    build_optimizer(plain, OptimizerConfig()).step()
    same = {
        name: torch.equal(parameter, other)
        for (name, parameter), other in zip(model.named_parameters(), plain.parameters(), strict=True)
    }
    assert same == {name: not (".layers." in name and "norm" not in name) for name in same}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_skipped_step_changes_neither_weights_nor_momentum(bad):
    model = model_with_gradients()
    optimizer = build_optimizer(model, MUON)
    optimizer.step()
    weight = model.encoder.layers[0].conv.weight
    before, momentum = weight.clone(), optimizer.state[weight]["momentum_buffer"].clone()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, bad)
    optimizer.found_inf, optimizer.grad_scale = torch.tensor(1.0), None
    optimizer.step()
    assert torch.equal(weight, before)
    assert torch.equal(optimizer.state[weight]["momentum_buffer"], momentum)


@pytest.mark.parametrize("backbone", ["cnn", "transformer", "hybrid"])
def test_a_resumed_run_goes_on_exactly(tmp_path, backbone):
    config = replace(dna(tmp_path), steps=12, checkpoint_every=6, validate_every=6, optimizer=MUON)
    config = replace(config, model=replace(config.model, backbone=backbone, global_every=2))
    pretrain(config, tmp_path / "whole")
    pretrain(replace(config, max_hours=1e-9), tmp_path / "cut")
    pretrain(config, tmp_path / "cut", resume=True)
    assert losses(tmp_path / "whole") == losses(tmp_path / "cut")


def test_convolutions_of_pictures_and_decoders_are_trained_too(tmp_path):
    config = replace(image(tmp_path), steps=3, optimizer=MUON)
    for changes in ({"backbone": "cnn", "objective": "mlm"}, {"objective": "mae"}):
        assert pretrain(
            replace(config, model=replace(config.model, **changes)), tmp_path / changes["objective"]
        ).finished


def test_a_rate_that_is_no_rate_is_refused():
    with pytest.raises(ConfigError, match=r"--optimizer.muon-lr must be > 0, got 0"):
        OptimizerConfig(muon_lr=0)
