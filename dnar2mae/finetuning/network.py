"""The network that is fine-tuned: a pretrained model with a linear head, LoRA, and learning rates by layer."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from dnar2mae.batch import Batch
from dnar2mae.errors import needing
from dnar2mae.finetuning.options import Pooling, TuningSettings
from dnar2mae.models import MaskedModel
from dnar2mae.models.pooling import mean_and_max, mean_and_max_of_parts

_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
_LOWEST = ("embedder.", "encoder.channels_in.", "encoder.trunk_in.")  # what comes before the first layer
_UNUSED = ("head", "decoder")  # parts of the pretrained model that predict masked tokens
_PARTS = 8  # of a sequence: a promoter's signals stand at their distances from its start
Reading = Literal["tokens", "vector", "parts"]
"""What a head reads: each token, the vector that ``embed`` gives, or mean and maximum of the whole and of its parts."""


class TunedNetwork(nn.Module):
    """A pretrained model and a linear head on what it makes of a sample, or of each token.

    Parameters
    ----------
    backbone
        The pretrained model.
    num_outputs
        Outputs of the head.
    shift, scale
        Mean and standard deviation of the vectors before the first step: the head reads standardised vectors, else
        the directions in which they vary least would be learned last.
    reading
        What the head reads.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        backbone: MaskedModel,
        num_outputs: int,
        shift: Float[Tensor, " W"],
        scale: Float[Tensor, " W"],
        *,
        reading: Reading,
    ) -> None:
        super().__init__()
        self.backbone, self.reading = backbone, reading
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)
        self.head = nn.Linear(len(shift), num_outputs).to(shift.device)

    def forward(self, batch: Batch | Float[Tensor, "B W"]) -> Float[Tensor, "B *T K"]:
        """Return the outputs of each sample, or of each of its tokens; vectors of samples may be given as they are."""
        read = batch if isinstance(batch, Tensor) else vectors(self.backbone, batch, self.reading)
        return self.head((read - self.shift) / self.scale)

    def plain_head(self) -> nn.Linear:
        """Return the head that reads vectors as they are."""
        plain = nn.Linear(self.head.in_features, self.head.out_features).to(self.head.weight.device)
        with torch.no_grad():
            plain.weight.copy_(self.head.weight / self.scale)
            plain.bias.copy_(self.head.bias - plain.weight @ self.shift)
        return plain


class VectorsOnly(nn.Module):
    """A model without a head, for :func:`.problem.outputs_of`."""

    def __init__(self, backbone: MaskedModel, reading: Reading) -> None:
        super().__init__()
        self.backbone, self.reading = backbone, reading

    def forward(self, batch: Batch) -> Float[Tensor, "B *T W"]:
        """Return the vectors that a head reads."""
        return vectors(self.backbone, batch, self.reading)


def vectors(backbone: MaskedModel, batch: Batch, reading: Reading) -> Float[Tensor, "B *T W"]:
    """Return the fp32 vectors that a head reads."""
    if reading == "vector":
        return backbone.pooled(batch)
    hidden = backbone.encode(batch).float()
    if reading == "tokens":
        return hidden
    whole = mean_and_max(hidden, batch.maskable)
    return torch.cat([whole, mean_and_max_of_parts(hidden, batch.maskable, _PARTS)], 1)


def reading_of(backbone: MaskedModel, per: str, pooling: Pooling) -> Reading:
    """Return what the head of a model reads for an answer ``per`` base or sample.

    Only tokens in a row have parts. By default a Transformer's head reads the mean, as ModernBERT's does
    in ``transformers``, which opens it then.
    """
    if per == "base":
        return "tokens"
    wanted = pooling == "parts" or (pooling == "auto" and backbone.config.backbone != "transformer")
    return "parts" if wanted and backbone.encoder.pools_a_row else "vector"


def make_trainable(backbone: MaskedModel, method: str, settings: TuningSettings, seed: int) -> None:
    """Let all weights of a model learn that its vectors depend on, or low-rank updates of them, or none.

    Raises
    ------
    ConfigError
        The method is lora, and peft is not installed.
    """
    backbone.requires_grad_(method == "full")
    for name in _UNUSED:
        part = getattr(backbone, name)
        if part is not None:
            part.requires_grad_(False)
    if method == "lora":
        with seeded(seed):
            add_lora(backbone.encoder, settings)


def add_lora(module: nn.Module, settings: TuningSettings) -> None:
    """Put low-rank updates beside the linear layers of a network whose weights are frozen.

    Raises
    ------
    ConfigError
        peft is not installed.
    """
    with needing("method lora", "peft", "dnar2mae[hf]"):
        from peft import LoraConfig, inject_adapter_in_model
    linear = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    wanted = [name for name in linear if name.rpartition(".")[2] in settings.lora_targets]
    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,  # type: ignore[arg-type]
        lora_dropout=settings.lora_dropout,
        target_modules=wanted or linear,
    )
    inject_adapter_in_model(config, module)


def merged(weights: Mapping[str, Tensor], settings: TuningSettings) -> dict[str, Tensor]:
    """Return weights in which the updates of LoRA are added to those that they update, under the plain names."""
    plain: dict[str, Tensor] = {}
    scale = settings.lora_alpha / settings.lora_rank
    for name, weight in weights.items():
        if ".lora_" in name:
            continue
        if ".base_layer." not in name:
            plain[name] = weight
            continue
        layer, _, part = name.partition(".base_layer.")
        update = f"{layer}.lora_{{}}.default.weight"
        is_matrix = part == "weight"
        plain[f"{layer}.{part}"] = (
            weight + scale * weights[update.format("B")] @ weights[update.format("A")] if is_matrix else weight
        )
    return plain


def parameter_groups(network: nn.Module, weight_decay: float, layer_decay: float = 1.0) -> list[dict]:
    """Return groups for AdamW: no weight decay of norms and biases, and learning rates that fall layer by layer.

    Layers count from the output: the head and the final norm have the factor 1, the last layer ``layer_decay``, the one
    below its square; the embedding (and what else comes before the first layer) has one power more than that layer.
    """
    depth = 1 + max(
        (int(match[1]) for name, _ in network.named_parameters() if (match := _LAYER.search(name))), default=-1
    )
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            factor = layer_decay ** (depth + 1 - _level(name, depth))
            groups.setdefault((factor, weight_decay if parameter.ndim > 1 else 0.0), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "lr_factor": factor}
        for (factor, decay), parameters in groups.items()
    ]


def _level(name: str, depth: int) -> int:
    """Return 0 for the embedding, i + 1 for layer i, and one more than the number of layers for all else."""
    if match := _LAYER.search(name):
        return int(match[1]) + 1
    return 0 if name.removeprefix("backbone.").startswith(_LOWEST) else depth + 1


@contextmanager
def seeded(*words: int) -> Iterator[None]:
    """Let torch draw from a seed within the context, after which it goes on as if nothing had been drawn."""
    # named, since torch warns where there are several devices; another than the current one draws nothing here
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1))
        yield
