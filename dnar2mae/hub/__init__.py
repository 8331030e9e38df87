"""A trained model in use, and its exchange with Hugging Face's ModernBERT."""

from dnar2mae.hub.export import export
from dnar2mae.hub.inference import EmbedOptions
from dnar2mae.hub.model import Model
from dnar2mae.hub.parity import Parity, compare

__all__ = ["EmbedOptions", "Model", "Parity", "compare", "export"]
