import pytest
import torch

from dnar2mae.batch import flat_lengths, sequence_lengths
from dnar2mae.errors import ConfigError
from dnar2mae.models import attention as backends
from dnar2mae.models.attention import attention, choose_backend
from dnar2mae.models.matmul_attention import matmul_attention
from dnar2mae.models.packing import Packing
from tests.tolerances import assert_matches

LENGTHS = (5, 63, 130)
WINDOWS = (None, 1, 8, 33)


def exact(query, key, value, window):
    """Softmax attention written out, one sequence."""
    scores = torch.einsum("thk,shk->hts", query, key) * query.shape[-1] ** -0.5
    if window is not None:
        place = torch.arange(len(query), device=query.device)
        scores = scores.masked_fill((place[:, None] - place).abs() > window, -torch.inf)
    return torch.einsum("hts,shk->thk", scores.softmax(-1), value)


def run(function, tensors, grad):
    tensors = [x.detach().requires_grad_() for x in tensors]
    out = function(*tensors)
    return [out, *torch.autograd.grad(out, tensors, grad)]


def compare(function, reference, tensors, grad):
    """Output and gradients against fp64, with plain PyTorch in the same dtype as the yardstick of the error."""
    dtype = tensors[0].dtype
    found = run(function, tensors, grad)
    plain = run(reference, tensors, grad)
    truth = run(reference, [x.double() for x in tensors], grad.double())
    for name, f, t, p in zip(("out", "dq", "dk", "dv"), found, truth, plain, strict=True):
        assert f.dtype == dtype
        assert_matches(name, f, t, p)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_dense(length, window, dtype):
    tensors = [torch.randn(2, length, 2, 8).to(dtype) for _ in range(3)]
    grad = torch.randn(2, length, 2, 8).to(dtype)

    def reference(*qkv):
        return torch.stack([exact(*(x[b] for x in qkv), window) for b in range(2)])

    compare(lambda *qkv: attention(*qkv, window=window, backend="sdpa"), reference, tensors, grad)


def test_one_token_attends_to_itself():
    query, key, value = torch.randn(3, 2, 1, 2, 8)
    for window in (None, 1):
        torch.testing.assert_close(attention(query, key, value, window=window), value)


@pytest.mark.parametrize("window", [16, 64])
def test_long_sequences_go_block_by_block(window):
    tensors = [torch.randn(1, 1100, 2, 4) for _ in range(3)]
    compare(
        lambda *qkv: attention(*qkv, window=window, backend="sdpa"),
        lambda *qkv: exact(*(x[0] for x in qkv), window)[None],
        tensors,
        torch.randn(1, 1100, 2, 4),
    )


def packed_case(dtype, device, lengths=(7, 1, 40, 12), heads=2, width=8):
    tensors = [torch.randn(sum(lengths), heads, width, device=device).to(dtype) for _ in range(3)]
    cu_seqlens = torch.tensor([0, *lengths], device=device).cumsum(0).int()
    positions = torch.cat([torch.arange(n, device=device) for n in lengths])
    packing = Packing(cu_seqlens, positions, lengths, max(lengths))

    def reference(window):
        return lambda *qkv: torch.cat(
            [exact(*part, window) for part in zip(*(x.split(lengths) for x in qkv), strict=True)]
        )

    return tensors, packing, reference


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_packed(window, dtype):
    tensors, packing, reference = packed_case(dtype, "cpu")
    compare(
        lambda *qkv: attention(*qkv, packing=packing, window=window, backend="sdpa"),
        reference(window),
        tensors,
        torch.randn_like(tensors[0]),
    )


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["flash_attn", "varlen", "sdpa"])
@pytest.mark.parametrize("window", [None, 8, 64])
@pytest.mark.parametrize("packed", [False, True])
def test_every_backend_on_the_gpu(backend, window, packed):
    try:
        choose_backend(backend, torch.device("cuda"), torch.bfloat16)
    except ConfigError as error:
        pytest.skip(str(error))
    if packed:
        tensors, packing, reference = packed_case(torch.bfloat16, "cuda", (700, 1, 63, 1024), 4, 64)
        compare(
            lambda *qkv: attention(*qkv, packing=packing, window=window, backend=backend),
            reference(window),
            tensors,
            torch.randn_like(tensors[0]),
        )
        return
    tensors = [torch.randn(2, 1000, 4, 64, device="cuda").bfloat16() for _ in range(3)]
    compare(
        lambda *qkv: attention(*qkv, window=window, backend=backend),
        lambda *qkv: torch.stack([exact(*(x[b] for x in qkv), window) for b in range(2)]),
        tensors,
        torch.randn_like(tensors[0]),
    )


def test_rows_behind_the_last_sequence_do_no_harm():
    tensors, packing, reference = packed_case(torch.float64, "cpu")
    padded = [torch.cat([x, torch.randn(5, *x.shape[1:], dtype=x.dtype)]) for x in tensors]
    out = attention(*padded, packing=packing, backend="sdpa")
    torch.testing.assert_close(out[: len(tensors[0])], reference(None)(*tensors))


def test_packing_of_documents():
    documents = torch.tensor([[0, 0, 1, -1], [1, -1, -1, -1], [-1, -1, -1, -1], [0, 2, 2, 3]])
    valid = documents >= 0
    lengths = sequence_lengths(valid, documents)
    assert lengths == ((2, 1), (1,), (), (1, 2, 1))
    packing = Packing.of_tokens(valid.flatten().nonzero().squeeze(1), flat_lengths(lengths), 4)
    assert packing.lengths == (2, 1, 1, 1, 2, 1)
    assert packing.cu_seqlens.tolist() == [0, 2, 3, 4, 5, 7, 8]
    assert packing.positions.tolist() == [0, 1, 2, 0, 0, 1, 2, 3]
    assert (packing.max_length, packing.num_positions) == (2, 4)


@pytest.mark.parametrize("backend", ["flash_attn", "varlen"])
def test_a_backend_that_cannot_run_says_why(backend):
    cpu = torch.device("cpu")
    with pytest.raises(ConfigError, match=f"--attention {backend} cannot run here: it needs a CUDA GPU"):
        choose_backend(backend, cpu, torch.bfloat16)
    assert choose_backend("auto", cpu, torch.float32) == "sdpa"
    with pytest.raises(ConfigError, match="it needs bf16 or fp16, and the tensors are float32"):
        choose_backend(backend, torch.device("cuda"), torch.float32)


@pytest.mark.parametrize("window", [None, 4])
def test_a_softmax_that_autocast_promotes_has_a_backward_pass(window, monkeypatch):
    plain = torch.Tensor.softmax
    monkeypatch.setattr(torch.Tensor, "softmax", lambda x, dim: plain(x.float(), dim))  # as CUDA's autocast does
    tensors = [torch.randn(2, 20, 2, 8).bfloat16().requires_grad_() for _ in range(3)]
    out = matmul_attention(*tensors, window)
    assert out.dtype == torch.bfloat16
    out.sum().backward()
    assert all(x.grad.dtype == torch.bfloat16 for x in tensors)


@pytest.mark.parametrize("window", [None, 4, 16])
def test_attention_among_no_tokens(window):
    tensors = [torch.randn(0, 2, 8, requires_grad=True) for _ in range(3)]
    packing = Packing(torch.zeros(4, dtype=torch.int32), torch.zeros(0, dtype=torch.int64), (0, 0, 0), 12)
    out = attention(*tensors, packing=packing, window=window)
    assert out.shape == (0, 2, 8)
    out.sum().backward()


@pytest.mark.parametrize("backend", ["flash_attn", "varlen"])
@pytest.mark.parametrize(
    ("capability", "head_width", "reason"),
    [
        ((7, 5), 64, r"it needs compute capability 8.0 \(Ampere\), and this GPU has 7.5"),
        ((9, 0), 12, "it needs heads whose width is a multiple of 8, at most 256, got 12"),
        ((9, 0), 264, "it needs heads whose width is a multiple of 8, at most 256, got 264"),
    ],
)
def test_flash_attention_is_not_taken_where_it_cannot_run(backend, capability, head_width, reason, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(backends, "_HAS_FLASH_ATTN", True)
    monkeypatch.setattr(backends, "_HAS_VARLEN", True)
    cuda = torch.device("cuda")
    with pytest.raises(ConfigError, match=f"--attention {backend} cannot run here: {reason}"):
        choose_backend(backend, cuda, torch.bfloat16, head_width)
    assert choose_backend("auto", cuda, torch.bfloat16, head_width) == "sdpa"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert choose_backend(backend, cuda, torch.bfloat16, 64) == backend


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("length", [8, 128, 130])
@pytest.mark.parametrize("window", [4, 16])
def test_what_is_no_number_stays_in_its_sequence(which, length, window):
    """Blocks of neighbouring sequences overlap in memory, and 0 times NaN is NaN."""
    tensors = [torch.randn(3, length, 2, 8) for _ in range(3)]
    tensors[which][1] = torch.nan
    for tensor in tensors:
        tensor.requires_grad_()
    out = matmul_attention(*tensors, window)
    assert torch.isfinite(out[[0, 2]]).all()
    for grad in torch.autograd.grad(out[[0, 2]].sum() + out[1].nan_to_num().sum(), tensors):
        assert torch.isfinite(grad[[0, 2]]).all()
