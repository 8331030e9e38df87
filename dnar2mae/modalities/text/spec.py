"""Description of the modality of text."""

from dataclasses import replace

from dnar2mae.config import PretrainConfig
from dnar2mae.modalities.registry import ModalitySpec
from dnar2mae.modalities.text.config import TextConfig


def adapt(config: PretrainConfig) -> PretrainConfig:
    """Let convolutions mix all channels."""
    return replace(config, model=replace(config.model, conv_groups=1))


SPEC = ModalitySpec(
    config=TextConfig,
    modality="dnar2mae.modalities.text.modality:TextModality",
    adapt=adapt,
    may_change=("paths",),
    files=("tokenizer.json",),
)
