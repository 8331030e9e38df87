"""Fine-tuning a pretrained model on labels, and predictions by the result."""

import importlib
from typing import Any

_PUBLIC = {
    "FinetuneConfig": "options",
    "FinetuneResult": "result",
    "PredictOptions": "options",
    "TunedModel": "saved",
    "finetune": "tuning",
    "is_tuned": "saved",
    "load": "saved",
    "predict": "prediction",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the settings are read without torch."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dnar2mae.finetuning' has no attribute {name!r}")
    return getattr(importlib.import_module(f"dnar2mae.finetuning.{_PUBLIC[name]}"), name)
