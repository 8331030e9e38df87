"""A tiny run of every kind of data, for the tests that all kinds must pass."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from dnar2mae import DataConfig, ModelConfig, OptimizerConfig, PretrainConfig
from dnar2mae.modalities.cell.config import CellConfig
from dnar2mae.modalities.registry import preset_for


def tiny(modality, data):
    """A run of a kind of data that takes a second."""
    preset = preset_for(modality, PretrainConfig())
    return replace(
        preset,
        data=data,
        model=ModelConfig(width=32, depth=1, heads=2, mlp_width=32, decoder_width=16),
        optimizer=OptimizerConfig(lr=3e-3, warmup_steps=5),
        steps=12,
        batch_size=8,
        validate_every=6,
        validation_windows=16,
        checkpoint_every=4,
        device="cpu",
        precision="fp32",
    )


def dna(folder: Path) -> PretrainConfig:
    """Two sequences of random bases, A and T the more frequent."""
    bases = np.random.default_rng(0).choice(list("ACGT"), 9000, p=[0.4, 0.1, 0.1, 0.4])
    path = folder / "genome.fa"
    path.write_text(">one\n" + "".join(bases[:6000]) + "\n>two\n" + "".join(bases[6000:]) + "\n")
    return tiny("dna", DataConfig(genomes=(str(path),), window_bp=64))


def cell_counts(num_cells=60, num_genes=24, seed=0):
    """Counts of three kinds of cell, sparse, with totals that differ."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(num_cells) % 3
    rates = rng.gamma(0.5, 4.0, (3, num_genes))[kinds] * rng.uniform(0.5, 2.0, (num_cells, 1))
    return rng.poisson(rates).astype(np.float32), kinds


def write_cells(path, counts, genes=None, form=None, **parts):
    """Write an h5ad file."""
    import anndata
    import pandas as pd

    genes = [f"gene{i}" for i in range(counts.shape[1])] if genes is None else genes
    obs = pd.DataFrame(parts.pop("obs", {}), index=pd.Index([f"cell{i}" for i in range(len(counts))], dtype=object))
    var = pd.DataFrame(parts.pop("var", {}), index=pd.Index(genes, dtype=object))
    form = form or (lambda x: x)
    anndata.AnnData(form(counts), obs=obs, var=var, **parts).write_h5ad(path)
    return path


def cell_genes(folder: Path) -> PretrainConfig:
    """Cells as sets of gene tokens, some padded."""
    path = write_cells(folder / "cells.h5ad", cell_counts()[0])
    return tiny("cell", CellConfig(paths=(str(path),), num_tokens=16, validation_share=0.3))


def cell_whole(folder: Path) -> PretrainConfig:
    """Cells as vectors of counts."""
    path = write_cells(folder / "cells.h5ad", cell_counts()[0])
    return tiny(
        "cell", CellConfig(paths=(str(path),), encoding="whole", normalisation="counts", block_cells=4, buffer_cells=16)
    )


KINDS = {"dna": dna, "cell genes": cell_genes, "cell whole": cell_whole}
