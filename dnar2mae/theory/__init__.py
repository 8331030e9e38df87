"""Masked pretraining as ridgeless regression: its risk, computed and simulated."""

import importlib
from typing import Any

_PUBLIC = {
    "Beta": "dnar2mae.mask_laws",
    "Choice": "dnar2mae.mask_laws",
    "ConvergenceError": "dnar2mae.theory.equivalents",
    "Fixed": "dnar2mae.mask_laws",
    "MaskLaw": "dnar2mae.mask_laws",
    "Masking": "dnar2mae.theory.options",
    "Risk": "dnar2mae.theory.equivalents",
    "Task": "dnar2mae.theory.task",
    "Uniform": "dnar2mae.mask_laws",
    "effective_ratio": "dnar2mae.theory.rows",
    "linear_task": "dnar2mae.theory.task",
    "parse_law": "dnar2mae.mask_laws",
    "risk_equivalent": "dnar2mae.theory.equivalents",
    "spectral_task": "dnar2mae.theory.task",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the command line reads the options without numpy."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dnar2mae.theory' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
