"""Masked pretraining as ridgeless regression: its risk, computed and simulated."""

import importlib
from typing import Any

_NAMES = {
    "dnar2mae.mask_laws": ("Beta", "Choice", "Fixed", "MaskLaw", "Uniform", "parse_law"),
    "dnar2mae.theory.equivalents": ("ConvergenceError", "Risk", "risk_equivalent"),
    "dnar2mae.theory.options": ("Masking",),
    "dnar2mae.theory.rows": ("effective_ratio",),
    "dnar2mae.theory.task": ("Task", "linear_task", "spectral_task"),
}
_PUBLIC = {name: module for module, names in _NAMES.items() for name in names}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the command line reads the options without numpy."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dnar2mae.theory' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
