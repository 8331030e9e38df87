"""dnar2mae: masked foundation models of your own genome, with randomly random mask ratios (R2MAE)."""

import importlib
from typing import Any

__version__ = "0.1.0"

_CONFIGS = ("PretrainConfig", "DataConfig", "TokenizerConfig", "MaskConfig", "ModelConfig", "OptimizerConfig")
_PUBLIC = {
    "Genome": "dnar2mae.genome.store",
    "KmerTokenizer": "dnar2mae.tokenizers",
    "MaskedModel": "dnar2mae.models",
    "Model": "dnar2mae.inference",
    "Masker": "dnar2mae.masking",
    "score_variants": "dnar2mae.variants",
    "pretrain": "dnar2mae.training.pretrain",
    "RunResult": "dnar2mae.run.result",
    "PRESETS": "dnar2mae.presets",
    "Dnar2maeError": "dnar2mae.errors",
    **dict.fromkeys(_CONFIGS, "dnar2mae.config"),
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import dnar2mae`` stays light."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dnar2mae' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
