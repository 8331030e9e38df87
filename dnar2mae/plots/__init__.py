"""Figures: in-silico mutagenesis, embeddings."""

from dnar2mae.plots.embedding import plot_embedding, read_embedding
from dnar2mae.plots.mutagenesis import plot_mutagenesis

__all__ = ["plot_embedding", "plot_mutagenesis", "read_embedding"]
