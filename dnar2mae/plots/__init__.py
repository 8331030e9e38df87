"""Figures: in-silico mutagenesis, embeddings."""

from dnar2mae.plots.maps import plot_embedding, plot_mutagenesis, read_embedding

__all__ = ["plot_embedding", "plot_mutagenesis", "read_embedding"]
