"""The encoder that a configuration names, and the layouts it fits."""

from dnar2mae.batch import Layout
from dnar2mae.config import ModelConfig
from dnar2mae.errors import ConfigError
from dnar2mae.models.attention import Backend
from dnar2mae.models.cnn import ConvNet
from dnar2mae.models.mlp import Mlp
from dnar2mae.models.transformer import Transformer

Encoder = Transformer | ConvNet | Mlp


def build_encoder(
    config: ModelConfig, layout: Layout, *, gradient_checkpointing: bool = False, attention: Backend = "auto"
) -> Encoder:
    """Build the encoder of a model.

    Parameters
    ----------
    config
        ``backbone`` and its sizes.
    layout
        How the tokens lie.
    gradient_checkpointing
        Recompute each layer in the backward pass.
    attention
        Backend of attention; used by the Transformer alone.

    Raises
    ------
    ConfigError
        If the backbone does not fit the layout or the objective; see :func:`why_unsupported`.
    """
    reason = why_unsupported(config, layout)
    if reason is not None:
        raise ConfigError(f"--model.backbone {config.backbone} cannot be used here: {reason}")
    match config.backbone:
        case "cnn":
            return ConvNet(config, layout.axes, gradient_checkpointing=gradient_checkpointing)
        case "mlp":
            return Mlp(config, layout.tokens, gradient_checkpointing=gradient_checkpointing)
    return Transformer(config, axes=layout.axes, gradient_checkpointing=gradient_checkpointing, backend=attention)


def why_unsupported(config: ModelConfig, layout: Layout) -> str | None:
    """Return why a backbone does not fit a layout or an objective; None if it does."""
    if config.backbone == "transformer":
        return None
    if config.objective == "mae":
        return "only the transformer leaves masked tokens out; take --model.objective mlm"
    if config.backbone == "mlp":
        fits = layout.aligned and layout.tokens > 0
        return None if fits else "it needs the same tokens in the same order in every sample, without padding"
    if not layout.axes:
        return "a convolution mixes neighbours, and these tokens are a set without any"
    return "a convolution would mix the documents that are packed into one row" if layout.packed else None
