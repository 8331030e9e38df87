import pytest
import torch

from dnar2mae.errors import ConfigError
from dnar2mae.kernels import backend

HERE = torch.zeros(1)


def test_auto_is_the_definition_off_cuda():
    assert not backend.use_triton("auto", HERE)
    assert not backend.use_triton("reference", HERE)


def test_rejects_an_unknown_name():
    with pytest.raises(ConfigError, match="backend must be auto, reference or triton, got cuda"):
        backend.use_triton("cuda", HERE)


@pytest.mark.parametrize("interpreted", [False, True])
def test_triton_off_cuda_needs_the_interpreter(interpreted, monkeypatch):
    monkeypatch.setattr(backend, "INTERPRETED", interpreted)
    if interpreted:
        assert backend.use_triton("triton", HERE)
    else:
        with pytest.raises(ConfigError, match=r"needs CUDA tensors .*, got cpu"):
            backend.use_triton("triton", HERE)


def test_without_triton_auto_is_the_definition_even_on_cuda(monkeypatch):
    assert backend.why_unfused(torch.device("cuda")) is None
    monkeypatch.setattr(backend, "INSTALLED", False)
    assert backend.why_unfused(torch.device("cuda")) == "triton is not installed: pip install 'dnar2mae[triton]'"
    assert backend.why_unfused(torch.device("cpu")) == "the tensors are on cpu; the Triton kernels need CUDA"
    with pytest.raises(ConfigError, match=r"backend triton needs the package triton: pip install 'dnar2mae\[triton\]'"):
        backend.use_triton("triton", HERE)


@pytest.mark.gpu
def test_auto_is_triton_on_cuda():
    assert backend.use_triton("auto", HERE.cuda())
    assert not backend.use_triton("reference", HERE.cuda())
