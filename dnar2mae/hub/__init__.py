"""Trained models as Hugging Face folders: export, model card, and a comparison of the outputs.

Where transformers is installed, ``import dnar2mae.hub`` lets its Auto classes open every folder that :func:`export`
writes; those of ModernBERT they open anyway.
"""

from importlib.util import find_spec

from dnar2mae.hub.export import export
from dnar2mae.hub.parity import Parity, compare

if find_spec("transformers"):
    from dnar2mae.hub import auto  # noqa: F401 - registers its classes

__all__ = ["Parity", "compare", "export"]
