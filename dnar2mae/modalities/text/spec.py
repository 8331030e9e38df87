"""Description of the modality of text."""

from dnar2mae.modalities.registry import ModalitySpec
from dnar2mae.modalities.text.config import TextConfig

SPEC = ModalitySpec(
    config=TextConfig,
    modality="dnar2mae.modalities.text.modality:TextModality",
    may_change=("paths",),
    files=("tokenizer.json",),
)
