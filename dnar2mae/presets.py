"""Named starting points, for sequences: each function returns a full configuration, which flags and files then change.

Convolutions see the neighbourhood of a masked base from the first step on, which attention has to learn to find; how
much that and the other choices here are worth is in docs/LOG.md.
"""

from dataclasses import replace

from dnar2mae.config import DataConfig, MaskConfig, ModelConfig, OptimizerConfig, PretrainConfig

_MASK = MaskConfig(per="sample", replace=(1.0, 0.0, 0.0))


def tiny() -> PretrainConfig:
    """Return settings of 0.6 M parameters on DNA: a laptop's CPU, minutes."""
    return PretrainConfig(
        mask=_MASK,
        model=ModelConfig(
            backbone="cnn",
            width=128,
            depth=6,
            heads=8,
            mlp_width=192,
            global_every=3,
            local_tokens=32,
            local_rope_theta=100.0,
            conv_groups=8,
            strand_symmetric=None,
        ),
        optimizer=OptimizerConfig(lr=2e-3, muon_lr=8e-3, schedule="wsd", decay_share=0.6, final_lr_share=0.0),
        batch_size=8,
        steps=1500,
        validate_every=100,
    )


def small() -> PretrainConfig:
    """Return settings of 10 M parameters: one GPU, an hour or a few."""
    return PretrainConfig(
        data=DataConfig(window_bp=1024),
        mask=_MASK,
        model=_hybrid(width=256, depth=12),
        optimizer=OptimizerConfig(lr=1e-3, muon_lr=4e-3, warmup_steps=500),
        batch_size=128,
        steps=20_000,
        validate_every=1000,
        validation_windows=1024,
        checkpoint_every=1000,
    )


def base() -> PretrainConfig:
    """Return settings of 120 M parameters: a large GPU, days."""
    return PretrainConfig(
        data=DataConfig(window_bp=1024),
        mask=_MASK,
        model=_hybrid(width=640, depth=24),
        optimizer=OptimizerConfig(lr=6e-4, muon_lr=2e-3, warmup_steps=2000, schedule="wsd"),
        batch_size=512,
        micro_batch=64,
        steps=100_000,
        validate_every=2000,
        validation_windows=4096,
        checkpoint_every=2000,
    )


def large() -> PretrainConfig:
    """Return settings of 360 M parameters: a large GPU, weeks."""
    return replace(
        base(),
        model=_hybrid(width=1024, depth=28),
        optimizer=OptimizerConfig(lr=3e-4, muon_lr=1e-3, warmup_steps=4000, schedule="wsd"),
        micro_batch=32,
    )


def with_transformer(config: PretrainConfig) -> PretrainConfig:
    """Return a preset for tokens that are no sequence: a Transformer of global layers, trained by AdamW."""
    model = replace(
        config.model,
        backbone="transformer",
        heads=max(config.model.width // 64, 1),
        global_every=1,
        conv_groups=1,
        strand_symmetric=False,
    )
    return replace(config, model=model, optimizer=replace(config.optimizer, muon_lr=None))


PRESETS = {"tiny": tiny, "small": small, "base": base, "large": large}


def _hybrid(width: int, depth: int) -> ModelConfig:
    """Return heads of 64, GeGLU of 1.5 widths, and attention over the whole window as every fourth layer."""
    return ModelConfig(
        backbone="hybrid",
        width=width,
        depth=depth,
        heads=width // 64,
        mlp_width=width * 3 // 2,
        global_every=4,
        global_rope_theta=160_000.0,
    )
