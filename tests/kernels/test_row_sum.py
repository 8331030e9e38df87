from functools import partial

import pytest
import torch

from dnar2mae.kernels.row_sum import reference, row_sum
from dnar2mae.kernels.row_sum.triton import RUN_ROWS
from tests.kernels.cases import FLOATS
from tests.tolerances import assert_matches

SHAPES = [(1, 1, 1), (63, 5, 8), (600, 130, 64), (63, 5, 65), (600, 260, 70)]


def run(function, ids, values, num_rows, dtype, grad):
    values = values.to(dtype).requires_grad_()
    out = function(ids, values, num_rows)
    return [out, *torch.autograd.grad(out, values, grad.to(dtype))]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "N{}-D{}-V{}".format(*s))
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_matches_reference(shape, dtype, device):
    num_values, width, num_rows = shape
    ids = torch.randint(-1, num_rows, (num_values,), device=device, dtype=torch.int32)
    values = torch.randn(num_values, width, device=device).to(dtype)
    grad = torch.randn(num_rows, width, device=device).to(dtype)
    out = run(partial(row_sum, backend="triton"), ids, values, num_rows, dtype, grad)
    plain = run(partial(reference.row_sum, upcast=False), ids, values, num_rows, dtype, grad)
    exact = run(reference.row_sum, ids, values, num_rows, torch.float64, grad)
    for name, *triple in zip(("sums", "dvalues"), out, exact, plain, strict=True):
        assert_matches(name, *triple)


@pytest.mark.parametrize("num_rows", [8, 100])
@pytest.mark.parametrize("dtype", [torch.int16, torch.int64])
def test_id_dtypes_and_ids_outside_the_range(num_rows, dtype, device):
    ids = torch.randint(0, 120, (200,), device=device).to(dtype)
    values = torch.randn(200, 3, dtype=torch.float64, device=device)
    expected = reference.row_sum(ids, values, num_rows)
    torch.testing.assert_close(row_sum(ids, values, num_rows, backend="triton"), expected)


def test_one_id_for_all_rows_is_shared_among_many_programs(device):
    values = torch.randn(3 * RUN_ROWS + 17, 4, dtype=torch.float64, device=device)
    ids = torch.full((len(values),), 71, device=device)
    out = row_sum(ids, values, 100, backend="triton")
    torch.testing.assert_close(out[71], values.sum(0))
    assert not out[:71].any()
    assert not out[72:].any()


@pytest.mark.parametrize("num_rows", [6, 70])
def test_gradcheck(num_rows, device):
    ids = torch.randint(-1, num_rows, (40,), device=device)
    values = torch.randn(40, 3, dtype=torch.float64, device=device, requires_grad=True)
    function = partial(row_sum, ids, num_rows=num_rows, backend="triton")
    assert torch.autograd.gradcheck(function, values, fast_mode=True)


def test_non_contiguous_and_empty(device):
    values = torch.randn(4, 50, device=device).T
    ids = torch.randint(0, 9, (100,), device=device)[::2]
    torch.testing.assert_close(row_sum(ids, values, 9, backend="triton"), reference.row_sum(ids, values, 9))
    assert not row_sum(ids[:0], values[:0], 9, backend="triton").any()


@pytest.mark.gpu
@pytest.mark.parametrize("num_rows", [8, 64, 4104, 32_768])
def test_large_and_the_same_on_every_run(num_rows):
    ids = torch.randint(0, num_rows, (1 << 20,), device="cuda", dtype=torch.int32)
    ids[torch.rand(len(ids), device="cuda") < 0.3] = 1
    values = torch.randn(len(ids), 256, device="cuda")
    out = row_sum(ids, values, num_rows, backend="triton")
    assert_matches("sums", out, reference.row_sum(ids, values.double(), num_rows), out)
    assert torch.equal(out, row_sum(ids, values, num_rows, backend="triton"))
