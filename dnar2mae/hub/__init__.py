"""A trained model in use, and its exchange with Hugging Face's ModernBERT."""

from dnar2mae.hub.export import export
from dnar2mae.hub.inference import EmbedOptions
from dnar2mae.hub.model import Model

__all__ = ["EmbedOptions", "Model", "export"]
