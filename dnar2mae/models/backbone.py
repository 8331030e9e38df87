"""What every encoder offers, the encoder that a configuration names, and the layouts it fits."""

import pkgutil
from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d

from dnar2mae.batch import SEQUENCE, Layout, Lengths
from dnar2mae.config import BACKBONES, ModelConfig
from dnar2mae.errors import ConfigError
from dnar2mae.models.attention import Backend
from dnar2mae.models.partial import PartialLayer, encode_partly

_GRID_PARTS = 3  # of each axis, for one vector of a whole grid; 2 tell less, and vectors grow with the square


class Backbone(nn.Module):
    """An encoder: ``layers``, each of which adds to the residual stream, and a final norm.

    Weights whose names end in ``attention_out.weight``, ``mlp_out.weight`` or ``conv.weight`` are what a layer adds,
    and start out smaller in deep models. :meth:`why_unsuited` must give no reason against the layout.
    """

    takes_packed: ClassVar[bool] = False
    """Whether a call takes packed tokens and their :class:`~.packing.Packing`, which the objective ``mae`` needs."""
    takes_rows: ClassVar[bool] = False
    """Whether a call takes ``rows`` of the flattened batch, and then returns their vectors only. False for a subclass
    that has an ``encode`` or a ``forward`` of its own and does not say."""
    is_local: ClassVar[bool] = False
    """Whether layers are centred convolutions and feed-forward blocks alone, which ``strand_symmetric`` needs. False
    for a subclass that has another layer or way through them and does not say."""
    dynamic_shapes: ClassVar[bool | None] = False
    """What ``torch.compile`` is told about its shapes; None lets it find out."""
    layers: nn.ModuleList
    final_norm: nn.Module
    gradient_checkpointing: bool = False
    """Recompute each layer in the backward pass."""
    backend: Backend = "auto"
    """How attention is computed, if it is."""

    def __init_subclass__(cls) -> None:
        """Forget ``takes_rows`` and ``is_local`` of a base class whose computation is replaced."""
        super().__init_subclass__()
        own = set(vars(cls))
        if {"encode", "forward"} & own and "takes_rows" not in own:
            cls.takes_rows = False
        if {"encode", "forward", "layer", "through"} & own and "is_local" not in own:
            cls.is_local = False

    def __init__(self, config: ModelConfig, layout: Layout = SEQUENCE) -> None:
        super().__init__()
        self.config, self.layout = config, layout

    @classmethod
    def why_unsuited(cls, layout: Layout) -> str | None:
        """Return why it cannot encode tokens of this layout; None if it can."""
        return None

    def prepare_initial(self, name: str, value: Tensor) -> None:
        """Change drawn initial weights, on the CPU, in place; by default not at all.

        ``name`` is the parameter's in the :class:`dnar2mae.models.MaskedModel`.
        """

    @abstractmethod
    def encode(
        self, x: Float[Tensor, "B T D"], documents: Int[Tensor, "B T"] | None, lengths: Lengths | None = None
    ) -> Float[Tensor, "B T D"]:
        """Encode rows of documents, numbered as in :class:`dnar2mae.batch.Batch`.

        Parameters
        ----------
        x
            Embeddings.
        documents
            Number of each token's document, -1 for padding; None: every row is one.
        lengths
            Tokens of each document, if the host knows them; an encoder that needs them otherwise waits for the device
            to count.

        Returns
        -------
        Tensor
            One vector per token; zero where there is padding.
        """

    def encode_rows(
        self,
        x: Float[Tensor, "B T D"],
        documents: Int[Tensor, "B T"] | None,
        lengths: Lengths | None,
        rows: Int[Tensor, " M"],
    ) -> Float[Tensor, "M D"]:
        """Return the vectors of :meth:`encode` at ``rows`` of the flattened batch, in this order.

        Equal up to rounding: without padding, the last layer of an encoder that :attr:`takes_rows` is computed there
        alone. A compiled one is not: it wants the same number of rows in every step.
        """
        if self.takes_rows and documents is None and self._compiled_call_impl is None:
            return self(x, rows=rows)
        return self.encode(x, documents, lengths).flatten(0, 1)[rows]

    def partial_layers(self, x: Float[Tensor, "B T D"]) -> list[PartialLayer] | None:
        """Return the layers as :func:`~.partial.encode_partly` takes them; None if it cannot take them.

        ``x`` are embeddings of sequences of one length, without padding.
        """
        return None

    @torch.no_grad()
    def encode_at(self, x: Float[Tensor, "B T D"], positions: Int[np.ndarray, " S"]) -> Float[Tensor, "B S D"]:
        """Encode sequences of one length, and return the vectors at some positions, ascending; no gradients.

        Equal to ``encode(x, None)[:, positions]`` up to rounding; an encoder that has :meth:`partial_layers` computes
        only what these depend on.
        """
        layers = self.partial_layers(x)
        if layers is None:
            return self.encode(x, None)[:, torch.from_numpy(positions).to(x.device)]
        return self.final_norm(encode_partly(layers, x, positions))

    def encode_span(self, x: Float[Tensor, "B T D"], start: int, end: int) -> Float[Tensor, "B S D"]:
        """Return :meth:`encode_at` of the positions ``[start, end)``."""
        return self.encode_at(x, np.arange(start, end))

    @property
    def pools_a_row(self) -> bool:
        """Return whether :meth:`pooled` gives the mean over tokens that stand in a row."""
        return len(self.layout.axes) == 1 and type(self).pooled is Backbone.pooled

    def pooled(
        self, x: Float[Tensor, "B T D"], documents: Int[Tensor, "B T"] | None, real: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B W"]:
        """Return one fp32 vector per sample, unless the encoder has another: the mean over its real tokens.

        Of a grid it is the largest values in each of 3 x 3 parts, side by side: where something lies says much about an
        image, and a mean over all places forgets it.
        """
        encoded = self.encode(x, documents).float()
        if len(self.layout.axes) == 2:
            grid = encoded.unflatten(1, self.layout.axes).movedim(-1, 1)
            return adaptive_max_pool2d(grid, _GRID_PARTS).flatten(1)
        weight = real[..., None]
        return (encoded * weight).sum(1) / weight.sum(1)


def build_encoder(
    config: ModelConfig, layout: Layout, *, gradient_checkpointing: bool = False, attention: Backend = "auto"
) -> Backbone:
    """Build the encoder that ``config.backbone`` names; ``attention`` is the backend of one that has attention.

    Raises
    ------
    ConfigError
        If the backbone does not fit the layout or the objective; see :func:`why_unsupported`.
    """
    reason = why_unsupported(config, layout)
    if reason is not None:
        raise ConfigError(f"--model.backbone {config.backbone} cannot be used here: {reason}")
    encoder = _class_of(config)(config, layout)
    encoder.gradient_checkpointing, encoder.backend = gradient_checkpointing, attention
    return encoder


def why_unsupported(config: ModelConfig, layout: Layout) -> str | None:
    """Return why a backbone does not fit a layout or an objective; None if it does."""
    encoder = _class_of(config)
    if config.objective == "mae" and not encoder.takes_packed:
        return "only --model.backbone transformer leaves masked tokens out; take --model.objective mlm"
    if config.strand_symmetric and not encoder.is_local:
        return "only --model.backbone cnn shares weights between strands (--model.strand-symmetric)"
    return encoder.why_unsuited(layout)


def _class_of(config: ModelConfig) -> type[Backbone]:
    return pkgutil.resolve_name(BACKBONES[config.backbone].encoder)
