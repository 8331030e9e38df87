"""Description of the modality of images."""

from dataclasses import replace

from dnar2mae.config import MaskConfig, PretrainConfig
from dnar2mae.modalities.image.config import ImageConfig
from dnar2mae.modalities.registry import ModalitySpec
from dnar2mae.presets import with_transformer

_RELATIVE_BATCH = 8  # an image has a tenth of the tokens of a DNA window


def adapt(config: PretrainConfig) -> PretrainConfig:
    """Set objective mae with a decoder of the encoder's width, high mask ratios, and larger batches."""
    plain = with_transformer(config)
    return replace(
        plain,
        model=replace(plain.model, objective="mae", decoder_width=config.model.width, decoder_depth=2),
        mask=MaskConfig(low=0.3, high=0.9, replace=(1.0, 0.0, 0.0)),
        batch_size=_RELATIVE_BATCH * config.batch_size,
        micro_batch=config.micro_batch and _RELATIVE_BATCH * config.micro_batch,
    )


SPEC = ModalitySpec(
    config=ImageConfig,
    modality="dnar2mae.modalities.image.modality:ImageModality",
    adapt=adapt,
    may_change=("paths",),
    files=("image.json",),
)
