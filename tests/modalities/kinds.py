"""A tiny run of every kind of data, for the tests that all kinds must pass."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from dnar2mae import DataConfig, ModelConfig, OptimizerConfig, PretrainConfig
from dnar2mae.modalities.image.config import ImageConfig
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


def image(folder: Path) -> PretrainConfig:
    """A hundred gradients of 8 x 12 pixels, mostly from left to right."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:8, :12]
    slope = rng.normal((0.2, 0.6), 0.2, size=(100, 2))[..., None, None]
    pixels = 1 / (1 + np.exp(-slope[:, 0] * (rows - 4) - slope[:, 1] * (columns - 6)))
    np.save(folder / "gradients.npy", pixels.astype(np.float32))
    return tiny("image", ImageConfig(paths=(str(folder / "gradients.npy"),), patch=2, shift=1))


KINDS = {"dna": dna, "image": image}
