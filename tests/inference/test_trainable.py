import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from dnar2mae.errors import SequenceError
from dnar2mae.inference import Model, load
from tests.random_run import write_run

FROZEN = r"the pretrained network is frozen.*Model.from_pretrained\(path, trainable=True\)"


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def step(model, head):
    """One step of an optimizer on whatever learns."""
    tokens, valid = model.tokens(["ACGTACGTAC", "GATTACA"])
    both = nn.Sequential(model.module, head)
    optimizer = torch.optim.SGD([p for p in both.parameters() if p.requires_grad], lr=0.1)
    head(model.module(tokens, valid)).square().mean().backward()
    optimizer.step()
    return both


def test_frozen_unless_asked_for_and_a_loop_is_told_so(run):
    model = Model.from_pretrained(run, device="cpu")
    before = copy.deepcopy(model.module.state_dict())
    head = nn.Linear(model.config.width, 1)
    both = step(model, head)
    assert all((model.module.state_dict()[name] == before[name]).all() for name in before)
    assert head.weight.grad is not None
    assert not model.module.training
    with pytest.warns(UserWarning, match=FROZEN):
        model.module.train()
    assert model.module.training
    with pytest.warns(UserWarning, match=FROZEN):
        both.train()  # inside a model of somebody else
    with pytest.warns(UserWarning, match=FROZEN):
        model.random_like(0).module.train()


def test_what_is_no_training_of_a_frozen_network_is_silent(run):
    model = Model.from_pretrained(run, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.module.eval()
        model.embed("ACGT")
        next(model.module.encoder.parameters()).requires_grad_()  # as adapters do
        model.module.train()


def test_trainable_is_in_training_mode_and_learns(run):
    model = Model.from_pretrained(run, device="cpu", trainable=True)
    before = copy.deepcopy(model.module.state_dict())
    assert model.module.training
    assert all(parameter.requires_grad for parameter in model.module.parameters())
    step(model, nn.Linear(model.config.width, 1)).train()
    after = model.module.state_dict()
    assert {name for name in before if (after[name] == before[name]).all()} == {n for n in before if n[:5] == "head."}
    assert all(parameter.requires_grad for parameter in load(run, device="cpu").model.parameters())


def test_vectors_do_not_depend_on_it(run):
    frozen, learning = (Model.from_pretrained(run, device="cpu", trainable=flag) for flag in (False, True))
    np.testing.assert_array_equal(frozen.embed(["ACGTN", "GATTACA"]), learning.embed(["ACGTN", "GATTACA"]))


def test_tokens_are_padded_ids(run):
    model = Model.from_pretrained(run, device="cpu")
    tokens, valid = model.tokens(["acguN", "GA"])
    assert valid.tolist() == [[True] * 5, [True, True, False, False, False]]
    for row, text in zip(tokens, ["ACGTN", "GA"], strict=True):
        assert row[: len(text)].tolist() == model.tokenizer.encode_text(text).tolist()
    assert model.tokens("ACG")[0].shape == (1, 3)
    vectors = model.module(tokens, valid)
    alone = model.module(*model.tokens("GA"))
    torch.testing.assert_close(vectors[1, :2], alone[0])
    with pytest.raises(SequenceError, match="sequence 2, "):
        model.tokens(["ACG", "AC!"])
