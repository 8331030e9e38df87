"""Trained models as stock Hugging Face folders: export, model card, and a comparison of the outputs."""

from dnar2mae.hub.export import export
from dnar2mae.hub.parity import Parity, compare

__all__ = ["Parity", "compare", "export"]
