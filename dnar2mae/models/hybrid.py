"""Dilated convolutions for the neighbourhood and, as every n-th layer, attention over the whole window."""

from typing import cast

from jaxtyping import Float, Int
from torch import Tensor, nn

from dnar2mae.models.cnn import ConvLayer, ConvNet, TokenPlaces
from dnar2mae.models.partial import PartialLayer
from dnar2mae.models.transformer import Layer, Scope, global_scope, run_layer


class Hybrid(ConvNet):
    """The convolutional encoder with the Transformer's global layer in every ``global_every``-th place.

    Parameters
    ----------
    config
        Sizes, ``global_every``, heads, rotary base.
    layout
        A sequence (of any length) or a grid.
    """

    is_local = False

    def layer(self, index: int) -> nn.Module:
        """Return a layer of attention as the last of each ``global_every``, else a convolution."""
        every = self.config.global_every
        # attention takes no part in the cycle of dilations
        return Layer(self.config, index) if index % every == every - 1 else super().layer(index - index // every)

    def partial_layers(self, x: Float[Tensor, "B T D"]) -> list[PartialLayer] | None:
        """Return the layers for :meth:`encode_span`; those of attention read the whole sequence."""
        if len(self.layout.axes) != 1:
            return None
        scope = global_scope(self, x, None)
        return [
            layer.partly(scope, self.backend) if isinstance(layer, Layer) else cast(ConvLayer, layer).partly()
            for layer in self.layers
        ]

    def scope(self, x: Float[Tensor, "B T D"], tokens: TokenPlaces | None) -> Scope:
        """Return the rotary angles of the layers of attention."""
        return global_scope(self, x, None if tokens is None else tokens.packing)

    def through(
        self,
        layer: nn.Module,
        x: Float[Tensor, "B T D"],
        tokens: TokenPlaces | None,
        scope: Scope | None,
        rows: Int[Tensor, " M"] | None,
    ) -> Float[Tensor, "*M D"]:
        """Apply a layer as :class:`.ConvNet` does; attention leaves padding out."""
        if not isinstance(layer, Layer):
            return super().through(layer, x, tokens, scope, rows)
        recompute = self.gradient_checkpointing
        if tokens is None:
            return run_layer(layer, x, scope, None, self.backend, rows, recompute=recompute)
        flat = x.flatten(0, 1)
        real = flat.index_select(0, tokens.index)
        real = run_layer(layer, real, scope, tokens.packing, self.backend, recompute=recompute)
        return flat.to(real.dtype).index_copy(0, tokens.index, real).view(x.shape)
