"""Masked pretraining as ridgeless regression: its risk, computed and simulated."""

from dnar2mae.theory.equivalents import ConvergenceError, Risk, risk_equivalent
from dnar2mae.theory.laws import MaskLaw, choice, fixed, from_density, from_moments, parse_law, uniform
from dnar2mae.theory.rows import Masking, effective_ratio
from dnar2mae.theory.task import Task, linear_task, spectral_task

__all__ = [
    "ConvergenceError",
    "MaskLaw",
    "Masking",
    "Risk",
    "Task",
    "choice",
    "effective_ratio",
    "fixed",
    "from_density",
    "from_moments",
    "linear_task",
    "parse_law",
    "risk_equivalent",
    "spectral_task",
    "uniform",
]
