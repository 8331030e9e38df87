"""Building the model of a run with its initial weights."""

import torch

from dnar2mae.config import PretrainConfig
from dnar2mae.distributed import copy_into, shard
from dnar2mae.modalities.contract import Modality
from dnar2mae.models import MaskedModel, attention
from dnar2mae.storage.cache import own_compile_cache

_CPU = torch.device("cpu")


def build_model(
    config: PretrainConfig, modality: Modality, device: torch.device = _CPU, *, sharded: bool = False
) -> MaskedModel:
    """Build the model of a run with the initial weights of its seed, a pure function of the configuration.

    Parameters
    ----------
    config, modality
        The run.
    device
        Device of the weights.
    sharded
        Shard the model over the ranks of the group; no rank ever holds more than its shards and one parameter.
    """
    with torch.device("meta" if sharded else "cpu"):  # the meta device allocates nothing
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
    model.reset_parameters(torch.Generator().manual_seed(config.seed), copy_into)
    return model.to(device)


def compile_model(model: MaskedModel) -> None:
    """Compile the parts of a model whose shapes repeat: encoder, decoder and head.

    Neither the embedder, whose kernels are fused by hand, nor the whole: how many tokens are visible and predicted
    depends on the data, and a graph with these numbers in it would be compiled again in many steps.
    """
    own_compile_cache()
    attention.one_by_one = torch.compiler.disable(
        attention.one_by_one
    )  # a decorator would import the compiler in every run
    model.encoder.compile(dynamic=model.encoder.dynamic_shapes)
    if model.decoder is not None:
        model.decoder.layers.compile()
    model.head.losses = torch.compile(model.head.losses)  # type: ignore[method-assign]
