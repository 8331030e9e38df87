"""Description of the modality of images."""

from dataclasses import replace

from dnar2mae.config import MaskConfig, PretrainConfig
from dnar2mae.modalities.image.config import ImageConfig
from dnar2mae.modalities.registry import ModalitySpec
from dnar2mae.presets import with_transformer

_RELATIVE_BATCH = 8  # an image has a tenth of the tokens of a DNA window


def adapt(config: PretrainConfig) -> PretrainConfig:
    """Set high mask ratios and larger batches.

    A preset of convolutions keeps them and is trained by AdamW on all patches: on small images its vectors beat pixels.
    Larger presets become a Transformer that sees the visible patches only (``mae``).
    """
    if config.model.backbone == "cnn":
        model = replace(config.model, conv_groups=1)
        adapted = replace(config, model=model, optimizer=replace(config.optimizer, muon_lr=None))
    else:
        plain = with_transformer(config)
        model = replace(plain.model, objective="mae", decoder_width=plain.model.width, decoder_depth=2)
        adapted = replace(plain, model=model)
    return replace(
        adapted,
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
