"""Embeddings of the sequences, or the samples of another kind of data, in a file."""

from dnar2mae.embed.dispatch import Written, embed
from dnar2mae.embed.files import embed_file
from dnar2mae.embed.inputs import Sequences, read_sequences

__all__ = ["Sequences", "Written", "embed", "embed_file", "read_sequences"]
