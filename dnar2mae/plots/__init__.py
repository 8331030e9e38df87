"""Figures: runs, in-silico mutagenesis, embeddings."""

from dnar2mae.plots.embedding import plot_embedding, read_embedding
from dnar2mae.plots.mutagenesis import plot_mutagenesis
from dnar2mae.plots.runs import plot_run, plot_runs

__all__ = ["plot_embedding", "plot_mutagenesis", "plot_run", "plot_runs", "read_embedding"]
