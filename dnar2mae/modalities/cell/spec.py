"""Description of the modality of single cells."""

from dataclasses import replace

from dnar2mae.config import MaskConfig, PretrainConfig
from dnar2mae.modalities.cell.config import CellConfig
from dnar2mae.modalities.registry import ModalitySpec
from dnar2mae.presets import with_transformer


def _adapt(preset: PretrainConfig) -> PretrainConfig:
    """Hide every masked value: numbers near the true one would only be copied; and many: few cells are soon known."""
    mask = MaskConfig(low=0.3, high=0.9, replace=(1.0, 0.0, 0.0))
    return replace(with_transformer(preset), mask=mask, batch_size=max(preset.batch_size, 32))


SPEC = ModalitySpec(
    config=CellConfig,
    modality="dnar2mae.modalities.cell.modality:CellModality",
    adapt=_adapt,
    may_change=("paths", "memory_mb"),
    files=("genes.json",),
)
