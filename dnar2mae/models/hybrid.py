"""Dilated convolutions for the neighbourhood and, as every n-th layer, attention over the whole window."""

from typing import cast

from jaxtyping import Float, Int
from torch import Tensor, nn

from dnar2mae.models.cnn import ConvLayer, ConvNet, TokenPlaces
from dnar2mae.models.partial import PartialLayer
from dnar2mae.models.transformer import Layer, global_scope, run_layer


class Hybrid(ConvNet):
    """The convolutional encoder with the Transformer's global layer in every ``global_every``-th place.

    Parameters
    ----------
    config
        Sizes, ``global_every``, heads, rotary base.
    layout
        A sequence (of any length) or a grid.
    """

    takes_rows = True

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

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        tokens: TokenPlaces | None = None,
        rows: Int[Tensor, " M"] | None = None,
    ) -> Float[Tensor, "*M D"]:
        """Encode samples as :class:`.ConvNet` does; attention leaves padding out."""
        axes = x.shape[1:2] if len(self.layout.axes) == 1 else self.layout.axes
        keep = None if tokens is None else tokens.keep.unflatten(1, axes)
        packing = None if tokens is None else tokens.packing
        scope = global_scope(self, x, packing)
        for layer in self.layers:
            wanted = rows if layer is self.layers[-1] else None
            if not isinstance(layer, Layer):
                y = run_layer(layer, x.unflatten(1, axes), keep, wanted, recompute=self.gradient_checkpointing)
                x = y if wanted is not None else y.flatten(1, -2)
            elif tokens is None:
                x = run_layer(layer, x, scope, None, self.backend, wanted, recompute=self.gradient_checkpointing)
            else:
                flat = x.flatten(0, 1)
                real = flat.index_select(0, tokens.index)
                real = run_layer(layer, real, scope, packing, self.backend, recompute=self.gradient_checkpointing)
                x = flat.to(real.dtype).index_copy(0, tokens.index, real).view(x.shape)
        return self.final_norm(x)
