from dataclasses import replace

import pytest
import torch

from dnar2mae import ModelConfig, PretrainConfig, pretrain
from dnar2mae.errors import ConfigError
from dnar2mae.models import attention
from dnar2mae.training import device, doctor
from dnar2mae.training.device import check_trainable, has_bf16
from tests.modalities.kinds import dna

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_emulated_bf16_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert not has_bf16(CUDA)


@pytest.mark.parametrize("found", [True, False])
def test_the_doctor_says_what_a_run_would_take(found, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: found)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: not found)
    _, autocast = device.choose_device(PretrainConfig(device="cpu"))
    assert (autocast is torch.bfloat16) == found
    assert ("bfloat16" in dict(doctor.device_report())["cpu"]) == found


def test_mps_is_refused_before_anything_is_built(tmp_path, monkeypatch):
    from dnar2mae.training import pretrain as entry

    monkeypatch.setattr(entry, "choose_device", lambda config: (torch.device("mps"), None))
    with pytest.raises(ConfigError, match="--device mps cannot train: it has no 64-bit floats"):
        pretrain(dna(tmp_path), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "sizes", [ModelConfig(width=24, heads=2), ModelConfig(width=64, heads=1, objective="mae", decoder_width=20)]
)
def test_heads_that_the_chosen_attention_cannot_run_are_refused(sizes, monkeypatch):
    monkeypatch.setattr(attention, "_HAS_VARLEN", True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    config = PretrainConfig(model=sizes, attention="varlen")
    with pytest.raises(ConfigError, match="--attention varlen cannot run here: it needs heads whose width is"):
        check_trainable(config, CUDA, torch.bfloat16)
    check_trainable(replace(config, attention="auto"), CUDA, torch.bfloat16)


def test_slow_bf16_warns(monkeypatch):
    monkeypatch.setattr(device, "has_bf16", lambda _: False)
    with pytest.warns(UserWarning, match="imitates it, some 7.4 times slower than fp32"):
        check_trainable(PretrainConfig(precision="bf16"), CPU, torch.bfloat16)
    check_trainable(PretrainConfig(), CPU, None)


def test_the_current_gpu_is_named_by_its_number(monkeypatch):
    chosen = []
    monkeypatch.setattr(device.torch, "empty", lambda *size, device: None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert device.choose_device(PretrainConfig(device="cuda", precision="fp32")) == (torch.device("cuda:3"), None)
    assert device.choose_device(PretrainConfig(device="cuda:1", precision="fp32")) == (torch.device("cuda:1"), None)
    assert chosen == [torch.device("cuda:3"), torch.device("cuda:1")]


def test_triton_without_a_gpu_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "INTERPRETED", False)
    with pytest.raises(ConfigError, match="--kernels triton needs a CUDA GPU, and the run is on cpu"):
        pretrain(replace(dna(tmp_path), kernels="triton"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_triton_that_is_not_installed_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "INSTALLED", False)
    with pytest.raises(ConfigError, match="--kernels triton needs the package triton: pip install"):
        pretrain(replace(dna(tmp_path), kernels="triton"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_device_that_is_not_here_is_refused_in_a_short_line():
    with pytest.raises(ConfigError, match="--device must be one that this machine has, got mps") as error:
        device.choose_device(PretrainConfig(device="mps"))
    assert len(str(error.value)) < 250
