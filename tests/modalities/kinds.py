"""A tiny run of every kind of data, for the tests that all kinds must pass."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from dnar2mae import DataConfig, ModelConfig, OptimizerConfig, PretrainConfig, TokenizerConfig
from dnar2mae.cli.tokenizer import train
from dnar2mae.modalities.cell.config import CellConfig
from dnar2mae.modalities.image.config import ImageConfig
from dnar2mae.modalities.registry import preset_for
from dnar2mae.modalities.text.config import TextConfig
from dnar2mae.tokenizers.train import TokenizerTraining


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


def dna_bpe(folder: Path) -> PretrainConfig:
    """The same, as tokens of several bases."""
    config = dna(folder)
    file = folder / "bpe.json"
    genome = config.data.genomes
    train(TokenizerTraining(paths=genome, out=file, modality="dna", vocabulary_size=32, overwrite=True))
    return replace(config, tokenizer=TokenizerConfig(file=str(file)))


def text(folder: Path) -> PretrainConfig:
    """Short lines of a few words, as bytes."""
    words, chance = ["the", "masked", "model", "reads", "a", "random", "ratio"], [0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
    rng = np.random.default_rng(0)
    lines = [" ".join(rng.choice(words, rng.integers(2, 12), p=chance)) for _ in range(150)]
    path = folder / "words.txt"
    path.write_text("\n".join(lines) + "\n")
    return tiny("text", TextConfig(paths=(str(path),), split="line", window_tokens=64))


def text_bpe(folder: Path) -> PretrainConfig:
    """The same, as tokens, a line a row."""
    config = text(folder)
    file = folder / "bpe.json"
    train(TokenizerTraining(paths=config.data.paths, out=file, vocabulary_size=280, overwrite=True))
    data = replace(config.data, window_tokens=24, pack=False)
    return replace(config, data=data, tokenizer=TokenizerConfig(file=str(file)))


def image(folder: Path) -> PretrainConfig:
    """A hundred gradients of 8 x 12 pixels, mostly from left to right."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:8, :12]
    slope = rng.normal((0.2, 0.6), 0.2, size=(100, 2))[..., None, None]
    pixels = 1 / (1 + np.exp(-slope[:, 0] * (rows - 4) - slope[:, 1] * (columns - 6)))
    np.save(folder / "gradients.npy", pixels.astype(np.float32))
    return tiny("image", ImageConfig(paths=(str(folder / "gradients.npy"),), patch=2, shift=1))


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


KINDS = {
    "dna": dna,
    "dna bpe": dna_bpe,
    "text": text,
    "text bpe": text_bpe,
    "image": image,
    "cell genes": cell_genes,
    "cell whole": cell_whole,
}
