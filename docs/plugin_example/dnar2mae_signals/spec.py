"""Settings and entry point of the modality; no torch here, so that ``--help`` stays quick."""

from dataclasses import dataclass

from dnar2mae.config import Positional
from dnar2mae.modalities.registry import ModalitySpec


@dataclass(frozen=True, kw_only=True, slots=True)
class SignalConfig:
    """From a table of time series to stretches of them."""

    file: Positional[str] = ""
    """Text file of numbers, one series a line, all of one length."""
    stretch: int = 8
    """Values that make one token."""


SPEC = ModalitySpec(config=SignalConfig, modality="dnar2mae_signals.modality:SignalModality", paths="file")
