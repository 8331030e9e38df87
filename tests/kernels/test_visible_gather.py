from functools import partial

import pytest
import torch

from dnar2mae.kernels.visible_gather import reference, visible_gather
from dnar2mae.masking import corrupt
from tests.kernels.cases import FLOATS, make_batch, make_plan, make_weight
from tests.tolerances import assert_matches

CASES = [  # batch, length, width, real tokens, anchor_stride
    (1, 1, 1, 1, 1),
    (2, 63, 5, 5, 1),
    (1, 600, 70, 5, 3),
    (3, 40, 64, 70, 1),
]
triton = partial(visible_gather, backend="triton")


def run(function, weight, batch, plan, grad, padded):
    weight = weight.detach().to(grad.dtype).requires_grad_()
    out = function(weight, *batch, plan, padded=padded)
    (dweight,) = torch.autograd.grad(out.embedded, weight, grad[: len(out.embedded)])
    return out, dweight


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda c: "B{}-T{}-D{}-R{}-G{}".format(*c))
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_matches_reference(case, dtype, padded, device):
    batch, length, width, num_real, anchor_stride = case
    plan = make_plan(anchor_stride=anchor_stride, num_real=num_real)
    inputs = make_batch(batch, length, num_real=num_real, device=device)
    weight = make_weight(num_real, width, dtype, device)
    grad = torch.randn(batch * length, width, device=device).to(dtype)
    out, dweight = run(triton, weight, inputs, plan, grad, padded)
    plain, dplain = run(reference.visible_gather, weight, inputs, plan, grad, padded)
    _, dexact = run(reference.visible_gather, weight, inputs, plan, grad.double(), padded)
    for name in ("embedded", "cu_seqlens", "flat_index", "predicted"):
        assert torch.equal(getattr(out, name), getattr(plain, name)), name
    assert out.max_seqlen == plain.max_seqlen
    assert_matches("dweight", dweight, dexact, dplain)


@pytest.mark.parametrize("backend", ["reference", "triton"])
@pytest.mark.parametrize("anchor_stride", [1, 3])
def test_what_is_visible(anchor_stride, backend, device):
    plan = make_plan(anchor_stride=anchor_stride, replace=(1.0, 0.0, 0.0))
    tokens, valid, maskable, sample_ids = make_batch(4, 90, device=device)
    weight = torch.arange(8, dtype=torch.float64, device=device)[:, None]
    out = visible_gather(weight, tokens, valid, maskable, sample_ids, plan, backend=backend)
    shown, _ = corrupt(plan, tokens, maskable, sample_ids)
    for row in range(4):
        start, end = out.cu_seqlens[row], out.cu_seqlens[row + 1]
        visible = valid[row] & (shown[row] != plan.mask_id)
        assert torch.equal(out.flat_index[start:end], visible.nonzero()[:, 0] + 90 * row)
        assert torch.equal(out.embedded[start:end, 0], tokens[row, visible].double())
    assert int(out.cu_seqlens[-1]) == len(out.embedded)
    assert out.max_seqlen == int(out.cu_seqlens.diff().max())


def test_a_padded_buffer_ends_in_zeros_that_pass_no_gradient(device):
    plan = make_plan()
    batch = make_batch(2, 40, device=device)
    weight = make_weight(5, 3, torch.float64, device)
    exact, padded = (triton(weight, *batch, plan, padded=padded) for padded in (False, True))
    total = len(exact.embedded)
    assert padded.embedded.shape == (80, 3)
    assert torch.equal(padded.embedded[:total], exact.embedded)
    assert not padded.embedded[total:].any()
    grads = [torch.autograd.grad((out.embedded + 1).square().sum(), weight)[0] for out in (exact, padded)]
    torch.testing.assert_close(*grads)


def test_gradcheck(device):
    plan = make_plan(anchor_stride=2)
    batch = make_batch(2, 15, device=device)
    weight = make_weight(5, 3, torch.float64, device)
    function = partial(triton, padded=True)
    assert torch.autograd.gradcheck(lambda w: function(w, *batch, plan).embedded, weight, fast_mode=True)


def test_non_contiguous_inputs(device):
    tokens, valid, maskable, sample_ids = make_batch(40, 3, device=device)
    arguments = torch.randn(6, 8, device=device).T, tokens.T, valid.T, maskable.T, sample_ids[:6:2], make_plan()
    for out, expected in zip(triton(*arguments), reference.visible_gather(*arguments), strict=True):
        assert torch.equal(torch.as_tensor(out), torch.as_tensor(expected))


@pytest.mark.gpu
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("anchor_stride", [1, 6])
def test_large(anchor_stride, padded):
    plan = make_plan(anchor_stride=anchor_stride, num_real=4096)
    inputs = make_batch(512, 1024, num_real=4096, device="cuda")
    weight = make_weight(4096, 768, torch.bfloat16, "cuda")
    grad = torch.randn(512 * 1024, 768, device="cuda", dtype=torch.bfloat16)
    out, dweight = run(triton, weight, inputs, plan, grad, padded)
    plain, dplain = run(reference.visible_gather, weight, inputs, plan, grad, padded)
    _, dexact = run(reference.visible_gather, weight, inputs, plan, grad.double(), padded)
    for name in ("embedded", "cu_seqlens", "flat_index", "predicted"):
        assert torch.equal(getattr(out, name), getattr(plain, name)), name
    assert_matches("dweight", dweight, dexact, dplain)
