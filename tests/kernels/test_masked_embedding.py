from functools import partial

import pytest
import torch

from dnar2mae.kernels.masked_embedding import masked_embedding, reference
from tests.kernels.cases import FLOATS, make_batch, make_plan, make_weight
from tests.tolerances import assert_matches

CASES = [  # batch, length, width, real tokens (a vocabulary above 64 sums its gradient by runs), anchor_stride
    (1, 1, 1, 1, 1),
    (2, 63, 5, 5, 1),
    (1, 200, 130, 5, 3),
    (3, 40, 64, 70, 1),
    (1, 33, 1000, 5, 2),
]
triton = partial(masked_embedding, backend="triton")


def run(function, weight, batch, plan, dtype, grad):
    tokens, _, maskable, sample_ids = batch
    weight = weight.detach().to(dtype).requires_grad_()
    embedded, predicted = function(weight, tokens, maskable, sample_ids, plan)
    (dweight,) = torch.autograd.grad(embedded, weight, grad.to(dtype))
    return embedded, predicted, dweight


@pytest.mark.parametrize("case", CASES, ids=lambda c: "B{}-T{}-D{}-R{}-G{}".format(*c))
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_matches_reference(case, dtype, device):
    batch, length, width, num_real, anchor_stride = case
    plan = make_plan(anchor_stride=anchor_stride, num_real=num_real)
    inputs = make_batch(batch, length, num_real=num_real, device=device)
    weight = make_weight(num_real, width, dtype, device)
    grad = torch.randn(batch, length, width, device=device).to(dtype)
    out = run(triton, weight, inputs, plan, dtype, grad)
    plain = run(reference.masked_embedding, weight, inputs, plan, dtype, grad)
    exact = run(reference.masked_embedding, weight, inputs, plan, torch.float64, grad)
    assert torch.equal(out[0], plain[0])
    assert torch.equal(out[1], plain[1])
    assert_matches("dweight", out[2], exact[2], plain[2])


@pytest.mark.parametrize(("anchor_stride", "num_real"), [(1, 5), (3, 62)])
def test_gradcheck(anchor_stride, num_real, device):
    plan = make_plan(anchor_stride=anchor_stride, num_real=num_real)
    tokens, _, maskable, sample_ids = make_batch(2, 20, num_real=num_real, device=device)
    weight = make_weight(num_real, 3, torch.float64, device)
    function = partial(triton, tokens=tokens, maskable=maskable, sample_ids=sample_ids, plan=plan)
    assert torch.autograd.gradcheck(lambda w: function(w)[0], weight, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32])
def test_non_contiguous_inputs(dtype, device):
    plan = make_plan()
    tokens, _, maskable, _ = make_batch(50, 4, dtype=dtype, device=device)
    sample_ids = torch.arange(8, device=device)[::2]
    weight = torch.randn(6, 8, device=device).T
    arguments = weight, tokens.T, maskable.T, sample_ids, plan
    for out, expected in zip(triton(*arguments), reference.masked_embedding(*arguments), strict=True):
        assert torch.equal(out, expected)


def test_gradient_of_a_view_reaches_the_weight(device):
    plan = make_plan()
    tokens, _, maskable, sample_ids = make_batch(2, 30, device=device)
    weight = make_weight(5, 6, torch.float64, device)
    grads = []
    for function in (triton, reference.masked_embedding):
        embedded, _ = function(weight, tokens, maskable, sample_ids, plan)
        grads.append(torch.autograd.grad(embedded.transpose(1, 2)[..., ::2].square().sum(), weight)[0])
    torch.testing.assert_close(*grads)


def test_a_token_outside_the_vocabulary_gives_nan(device):
    tokens = torch.tensor([[3, 8, -1]], device=device)
    nothing = torch.zeros_like(tokens, dtype=torch.bool)
    embedded, _ = triton(make_weight(5, 4, device=device), tokens, nothing, tokens[:, 0], make_plan())
    assert embedded.isnan().all(-1).tolist() == [[False, True, True]]


def test_empty_batch(device):
    plan = make_plan()
    tokens, _, maskable, sample_ids = make_batch(2, 5, device=device)
    weight = make_weight(5, 4, device=device)
    embedded, predicted = triton(weight, tokens[:0], maskable[:0], sample_ids[:0], plan)
    assert embedded.shape == (0, 5, 4)
    assert predicted.shape == (0, 5)
    assert not torch.autograd.grad(embedded.sum(), weight)[0].any()


@pytest.mark.gpu
@pytest.mark.parametrize("num_real", [5, 4096])
@pytest.mark.parametrize("anchor_stride", [1, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_large(num_real, anchor_stride, dtype):
    plan = make_plan(anchor_stride=anchor_stride, num_real=num_real)
    inputs = make_batch(512, 1024, num_real=num_real, device="cuda")
    weight = make_weight(num_real, 768, dtype, "cuda")
    grad = torch.randn(512, 1024, 768, device="cuda", dtype=dtype)
    out = run(triton, weight, inputs, plan, dtype, grad)
    plain = run(reference.masked_embedding, weight, inputs, plan, dtype, grad)
    exact = run(reference.masked_embedding, weight, inputs, plan, torch.float64, grad)
    assert torch.equal(out[0], plain[0])
    assert torch.equal(out[1], plain[1])
    assert_matches("dweight", out[2], exact[2], plain[2])
    assert torch.equal(out[2], run(triton, weight, inputs, plan, dtype, grad)[2])
