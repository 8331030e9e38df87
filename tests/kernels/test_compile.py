"""``torch.compile(fullgraph=True)`` sees through both operators, and new steps soon stop recompiling."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from dnar2mae.kernels.mask_draw import pack
from dnar2mae.kernels.masked_embedding import masked_embedding
from dnar2mae.kernels.masked_embedding.triton import masked_embedding as masked_embedding_op
from dnar2mae.kernels.row_sum.triton import row_sum
from dnar2mae.kernels.visible_gather import visible_gather
from dnar2mae.kernels.visible_gather.triton import visible_rank, visible_rows
from tests.kernels.cases import make_batch, make_plan, make_weight, run_compiled, run_script

pytestmark = pytest.mark.long

FIRST_COMPILES = 3  # one with the numbers of the first step, then one for each kind of number that turns out to vary


def masked_loss(weight, batch, plan, backend):
    tokens, _, maskable, sample_ids = batch
    embedded, predicted = masked_embedding(weight, tokens, maskable, sample_ids, plan, backend=backend)
    return (embedded.square().sum(-1) * predicted).sum()


def visible_loss(weight, batch, plan, backend):
    out = visible_gather(weight, *batch, plan, padded=True, backend=backend)
    return (out.embedded.square().sum(-1) * (out.flat_index + 1)).sum()


def check(function, kernels, compiler, device):
    torch._dynamo.reset()
    counter = CompileCounterWithBackend(compiler)
    compiled = torch.compile(function, fullgraph=True, backend=counter)
    batch, weight = make_batch(2, 70, device=device), make_weight(5, 6, device=device)
    for step in range(4):
        plan = make_plan(law="linear", step=step)
        out, expected = compiled(weight, batch, plan, kernels), function(weight, batch, plan, kernels)
        grads = (torch.autograd.grad(loss, weight)[0] for loss in (out, expected))
        torch.testing.assert_close(out, expected)
        torch.testing.assert_close(*grads)
    assert counter.frame_count <= FIRST_COMPILES


def check_apart(*cases):
    """Check in a process without the shape checks, which the compiler cannot trace."""
    calls = [
        f"check({function}, {kernels!r}, {compiler!r}, {device!r})" for function, kernels, compiler, device in cases
    ]
    run_script("\n".join(["from tests.kernels.test_compile import *", *calls]))


def test_one_graph(device):
    functions = ["masked_loss", "visible_loss"]
    compilers = [("reference", "aot_eager"), ("triton", "eager")]
    check_apart(*((function, *compiler, device) for function in functions for compiler in compilers))


@pytest.mark.slow
def test_compiled_definition_draws_the_same_masks():
    check_apart(("masked_loss", "reference", "inductor", "cpu"))


@pytest.mark.gpu
@pytest.mark.parametrize(
    "kernels",
    [
        "reference",
        pytest.param(
            "triton",
            # Seen with torch 2.11, where integers have no `xreplace`; --compile leaves the operators out.
            marks=pytest.mark.xfail(reason="Inductor takes no number above 2**31 as an argument of a kernel"),
        ),
    ],
)
def test_compiled_on_cuda(kernels):
    check_apart(*((function, kernels, "inductor", "cuda") for function in ("masked_loss", "visible_loss")))


def test_operators_are_registered_as_they_behave(device):
    tokens, valid, maskable, sample_ids = make_batch(2, 20, device=device)
    weight, plan = make_weight(5, 4, device=device), pack(make_plan())
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    rank, _, lengths = visible_rank(valid, maskable, sample_ids, plan)
    starts = torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).int()
    torch.library.opcheck(
        masked_embedding_op, (weight, tokens, maskable, sample_ids, plan, torch.bfloat16), test_utils=checks
    )
    torch.library.opcheck(visible_rank, (valid, maskable, sample_ids, plan), test_utils=checks)
    torch.library.opcheck(visible_rows, (weight, tokens, rank, starts, 40, torch.float32), test_utils=checks)
    values = torch.randn(40, 4, device=device, requires_grad=True)
    torch.library.opcheck(row_sum, (tokens.flatten(), values, 8, torch.float32), test_utils=checks)


TRACE = """
from types import SimpleNamespace

import torch
import triton
from functorch.compile import aot_function, make_boxed_func
from triton.backends.compiler import GPUTarget

from dnar2mae.kernels import backend
from dnar2mae.kernels.mask_draw import pack
from dnar2mae.kernels.masked_embedding.triton import masked_embedding
from dnar2mae.kernels.visible_gather import visible_gather
from tests.kernels.cases import make_batch, make_plan, make_weight

triton.runtime.driver.set_active(SimpleNamespace(get_current_target=lambda: GPUTarget("cuda", 90, 32)))

def show(graph, inputs):
    for node in graph.graph.nodes:
        if "triton_kernel" in str(node.target):
            print(*node.kwargs["tensors_to_clone"])
    return make_boxed_func(graph.forward)

def loss(weight, tokens, valid, maskable, sample_ids):
    embedded, _ = masked_embedding(weight, tokens, maskable, sample_ids, pack(plan), torch.bfloat16)
    samples = tokens, valid, maskable, sample_ids
    return embedded.sum() + visible_gather(weight, *samples, plan, padded=True, backend="triton").embedded.sum()

backend.INTERPRETED = True  # lets the kernels be asked for without a GPU
plan = make_plan(law="choice")
with torch._subclasses.FakeTensorMode() as mode:
    inputs = [mode.from_tensor(x) for x in (make_weight(5, 6), *make_batch(2, 70))]
    aot_function(loss, fw_compiler=show)(*inputs).backward()
"""


def test_the_graph_holds_the_kernels_and_knows_what_they_write(tmp_path):
    forward = ["out predicted", "rank predicted lengths", "embedded index ids"]
    backward = ["partial", "out", "partial"]
    assert run_compiled(TRACE, tmp_path).splitlines() == forward + backward
