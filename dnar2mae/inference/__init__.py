"""A trained model in use: one loader for every modality, hidden states, predictions and embeddings."""

from dnar2mae.inference.embedding import Written, embed
from dnar2mae.inference.loading import TrainedModel, is_trained_model, load
from dnar2mae.inference.model import Model
from dnar2mae.modalities.dna.options import DnaEmbedOptions
from dnar2mae.modalities.options import EmbedOptions

__all__ = ["DnaEmbedOptions", "EmbedOptions", "Model", "TrainedModel", "Written", "embed", "is_trained_model", "load"]
