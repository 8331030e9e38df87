"""Trained models as stock Hugging Face folders: export, its model card, and the check that both compute alike."""

from dnar2mae.hub.export import export
from dnar2mae.hub.parity import Parity, compare

__all__ = ["Parity", "compare", "export"]
