"""From a configuration to a device and a model with its first weights."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from dnar2mae.checkpoint import find_checkpoint, load_checkpoint, load_weights
from dnar2mae.config import ModelConfig, PretrainConfig, TokenizerConfig
from dnar2mae.config_file import read_config
from dnar2mae.distributed import local_device, place, shard
from dnar2mae.errors import ConfigError, RunError
from dnar2mae.modalities.contract import Modality
from dnar2mae.models import MaskedModel

_CPU = torch.device("cpu")


def choose_device(config: PretrainConfig) -> tuple[torch.device, torch.dtype | None]:
    """Device of a run and the type of its matrix products (None: that of the weights, fp32).

    Raises
    ------
    ConfigError
        If the device does not exist or has no bfloat16 although asked for.
    """
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(local_device(name))
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--device must be one that this machine has, got {name}: {reason}") from error
    if device.type == "cuda":
        torch.cuda.set_device(device)  # where Triton launches
    if config.precision == "fp32":
        return device, None
    fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return device, torch.bfloat16 if fast or config.precision == "bf16" else None


def build_model(
    config: PretrainConfig, modality: Modality, device: torch.device = _CPU, *, sharded: bool = False
) -> MaskedModel:
    """Make the model of a run with the weights of its seed, a pure function of the configuration.

    Parameters
    ----------
    config, modality
        The run.
    device
        Where to.
    sharded
        Cut it into shards over the ranks of the group. No rank ever holds more of it than its shards and one
        parameter.
    """
    with torch.device("meta" if sharded else "cpu"):
        model = MaskedModel(
            config.model,
            modality.embedder(),
            modality.head(),
            modality.layout,
            gradient_checkpointing=config.gradient_checkpointing,
            attention=config.attention,
            kernels=config.kernels,
        )
    if sharded:
        shard(model, config, device)
    model.reset_parameters(torch.Generator().manual_seed(config.seed), place)
    return model.to(device)


@dataclass(frozen=True, slots=True)
class InitialWeights:
    """What ``--init`` names."""

    model: ModelConfig
    tokenizer: TokenizerConfig
    saved: Path | None
    """The run directory, if it is one or a checkpoint of one."""
    load: Callable[[MaskedModel], object]
    """Puts the weights into a model."""


def starting_point(config: PretrainConfig, begun: Path | None) -> tuple[PretrainConfig, InitialWeights | None]:
    """Settle where a run starts.

    The first checkpoint of a run with ``--init``, of step 0, holds what it began with. From then on ``--init`` is not
    read: the run there may have moved on, or away.

    Parameters
    ----------
    config
        The run as asked for.
    begun
        Directory of the run to go on with, if it has a checkpoint.

    Returns
    -------
    PretrainConfig
        With the model and tokenizer settings of ``--init``.
    InitialWeights or None
        What to begin with; None without ``--init``, and for a run that has a checkpoint.

    Raises
    ------
    RunError
        As :func:`initial_weights`.
    """
    if not config.init:
        return config, None
    if begun is not None:
        own = read_config(begun / "config.yaml", whole=True)
        return replace(config, model=own.model, tokenizer=own.tokenizer), None
    start = initial_weights(config)
    return replace(config, model=start.model, tokenizer=start.tokenizer), start


def initial_weights(config: PretrainConfig) -> InitialWeights:
    """Read what ``--init`` names: a run or a checkpoint of the same kind of data, or a ModernBERT folder.

    Raises
    ------
    RunError
        If it is none of these, or of another kind of data.
    """
    path = Path(str(config.init))
    found = find_checkpoint(path)
    if found is None:
        from dnar2mae.hub import Model  # which imports this module

        model = Model.from_pretrained(path, device="cpu")
        tokenizer = TokenizerConfig(k=model.tokenizer.k, stride=model.tokenizer.stride)
        weights = model.module.state_dict()
        return InitialWeights(model.config, tokenizer, None, lambda to: load_weights(to, weights, path))
    run, checkpoint = found
    before = read_config(run / "config.yaml", whole=True)
    if before.modality != config.modality:
        raise RunError(f"--init {path}: expected a run on {config.modality}, got one on {before.modality}")
    return InitialWeights(before.model, before.tokenizer, run, lambda to: load_checkpoint(checkpoint, to))
