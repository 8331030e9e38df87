"""What the pretraining loop asks of a kind of data; DNA is one implementation."""

from dnar2mae.modalities.contract import Batch, FiniteSource, Modality, Source

__all__ = ["Batch", "FiniteSource", "Modality", "Source"]
