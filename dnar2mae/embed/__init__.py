"""Embeddings of the sequences in a file."""

from dnar2mae.embed.files import embed_file
from dnar2mae.embed.inputs import Sequences, read_sequences

__all__ = ["Sequences", "embed_file", "read_sequences"]
