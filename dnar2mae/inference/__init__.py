"""A trained model in use: one loader for every modality, hidden states, predictions and embeddings."""

from dnar2mae.inference.embedding import Written, embed
from dnar2mae.inference.files import embed_file
from dnar2mae.inference.hidden_states import EmbedOptions
from dnar2mae.inference.inputs import Sequences, read_sequences
from dnar2mae.inference.model import Model

__all__ = ["EmbedOptions", "Model", "Sequences", "Written", "embed", "embed_file", "read_sequences"]
