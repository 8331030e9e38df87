"""Description of the modality of single cells."""

from dataclasses import replace

from dnar2mae.config import PretrainConfig
from dnar2mae.modalities.cell.config import CellConfig
from dnar2mae.modalities.registry import ModalitySpec


def _adapt(preset: PretrainConfig) -> PretrainConfig:
    """Hide every masked value: numbers near the true one would only be copied."""
    mask = replace(preset.mask, replace=(1.0, 0.0, 0.0))
    return replace(
        preset, mask=mask, model=replace(preset.model, global_every=1), batch_size=max(preset.batch_size, 32)
    )


SPEC = ModalitySpec(
    config=CellConfig,
    modality="dnar2mae.modalities.cell.modality:CellModality",
    adapt=_adapt,
    may_change=("paths", "memory_mb"),
    files=("genes.json",),
)
