"""Named starting points: each function returns a full configuration, which flags and files then change."""

from dataclasses import replace

from dnar2mae.config import DataConfig, ModelConfig, OptimizerConfig, PretrainConfig


def tiny() -> PretrainConfig:
    """Return settings of 0.9 M parameters: a laptop's CPU, minutes."""
    return PretrainConfig(
        model=ModelConfig(width=128, depth=6, heads=2, mlp_width=192, global_every=3, local_tokens=32),
        optimizer=OptimizerConfig(lr=2e-3),
        batch_size=8,
        steps=1500,
        validate_every=100,
    )


def small() -> PretrainConfig:
    """Return settings of 10 M parameters: one GPU, an hour or a few."""
    return PretrainConfig(
        data=DataConfig(window_bp=1024),
        model=replace(_modernbert(width=320, depth=12), heads=5),
        optimizer=OptimizerConfig(lr=1e-3, warmup_steps=500),
        batch_size=128,
        steps=20_000,
        validate_every=1000,
        validation_windows=1024,
        checkpoint_every=1000,
    )


def base() -> PretrainConfig:
    """Return settings of 110 M parameters, the sizes of ModernBERT-base: a large GPU, days."""
    return PretrainConfig(
        data=DataConfig(window_bp=1024),
        model=_modernbert(width=768, depth=22),
        optimizer=OptimizerConfig(lr=6e-4, warmup_steps=2000, schedule="wsd"),
        batch_size=512,
        micro_batch=64,
        steps=100_000,
        validate_every=2000,
        validation_windows=4096,
        checkpoint_every=2000,
    )


def large() -> PretrainConfig:
    """Return settings of 340 M parameters, the sizes of ModernBERT-large: a large GPU, weeks."""
    return replace(
        base(),
        model=replace(_modernbert(width=1024, depth=28), mlp_width=2624),
        optimizer=OptimizerConfig(lr=3e-4, warmup_steps=4000, schedule="wsd"),
        micro_batch=32,
    )


PRESETS = {"tiny": tiny, "small": small, "base": base, "large": large}


def _modernbert(width: int, depth: int) -> ModelConfig:
    """Return ModernBERT's proportions: heads of 64, GeGLU of 1.5 widths, every third layer global."""
    return ModelConfig(
        width=width,
        depth=depth,
        heads=width // 64,
        mlp_width=width * 3 // 2,
        global_every=3,
        global_rope_theta=160_000.0,
    )
