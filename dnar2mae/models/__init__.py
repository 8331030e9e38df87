"""Encoders and the masked model around them."""

from dnar2mae.models.masked import MaskedModel
from dnar2mae.models.transformer import Transformer

__all__ = ["MaskedModel", "Transformer"]
