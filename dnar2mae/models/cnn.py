"""Dilated residual convolutions, over sequences or grids: the Transformer's layer with a convolution for attention.

References
----------
.. [1] Benegas, Batra, Song, "DNA language models are powerful predictors of genome-wide variant effects", PNAS 2023
   (dilated convolutions as the encoder of a masked DNA model).
"""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from dnar2mae.batch import Layout, Lengths, flat_lengths, sequence_lengths
from dnar2mae.config import ModelConfig
from dnar2mae.models.backbone import Backbone
from dnar2mae.models.packing import Packing
from dnar2mae.models.partial import PartialLayer
from dnar2mae.models.transformer import FeedForwardLayer, Scope, layer_norm, residual, run_layer

_MOST_TAPS = 5  # inputs gathered for each one there is, up to which that is faster than all of a convolution
_DOUBLINGS = {1: 6, 2: 2}  # dilations 1, 2, ... 32 along a sequence and 1, 2 on a grid, then again


class ConvLayer(FeedForwardLayer):
    """A convolution and a feed-forward block, each added to the residual stream.

    Parameters
    ----------
    config
        Sizes.
    index
        Index in the stack, from which the dilation follows.
    num_axes
        1 for sequences, 2 for grids.
    """

    def __init__(self, config: ModelConfig, index: int, num_axes: int) -> None:
        super().__init__(config)
        convolution = nn.Conv1d if num_axes == 1 else nn.Conv2d
        kernel = config.conv_kernel or (9 if num_axes == 1 else 3)  # 9 along a sequence, 3 x 3 on a grid
        dilation = 2 ** (index % _DOUBLINGS[num_axes])
        self.reach = dilation * (kernel // 2)
        self.reads = range(-self.reach, self.reach + 1, dilation)
        self.conv_norm = layer_norm(config.width)
        self.conv: nn.Conv1d | nn.Conv2d = convolution(
            config.width,
            config.width,
            kernel,
            padding=self.reach,
            dilation=dilation,
            groups=config.conv_groups,
            bias=False,
        )

    def forward(
        self,
        x: Float[Tensor, "B *A D"],
        keep: Float[Tensor, "B *A 1"] | None,
        rows: Int[Tensor, " M"] | None = None,
    ) -> Float[Tensor, "*M D"]:
        """Apply the layer; padding reads as zero, as positions past the ends do.

        With ``rows``, return these of the flattened output only.
        """
        inner = self.conv_norm(x)
        if keep is not None:
            inner = inner * keep
        if rows is not None and x.ndim == 3 and len(rows) * len(self.reads) <= _MOST_TAPS * x.shape[:2].numel():
            return self.feed_forward(residual(x).flatten(0, -2)[rows] + self.convolved(inner, rows))
        mixed = residual(x) + self.everywhere(inner)
        return self.feed_forward(mixed if rows is None else mixed.flatten(0, -2)[rows])

    def everywhere(self, x: Float[Tensor, "B *A D"]) -> Float[Tensor, "B *A D"]:
        """Return the convolution at all positions."""
        if x.ndim == 3 and x.device.type == "cpu" and not torch.compiler.is_compiling():
            # as a picture of one row, whose channels are read as they lie: training takes 0.6 to 0.7 of the time
            picture, weight = x.unsqueeze(1).movedim(-1, 1), self.conv.weight.unsqueeze(2)
            dilation, groups = (1, self.reads.step), self.conv.groups
            mixed = F.conv2d(picture, weight, padding=(0, self.reach), dilation=dilation, groups=groups)
            return mixed.movedim(1, -1).squeeze(1)
        return self.conv(x.movedim(-1, 1)).movedim(1, -1)

    def reads_on(self, device: torch.device) -> Int[Tensor, " K"]:
        """Return ``reads`` as a tensor, for which the host does not wait."""
        return torch.arange(self.reads.start, self.reads.stop, self.reads.step, device=device)

    def taps(self) -> Float[Tensor, "K G I O"]:
        """Return the matrix of each tap of a sequence's convolution, by group of channels."""
        return self.conv.weight.unflatten(0, (self.conv.groups, -1)).permute(3, 0, 2, 1)

    def convolved(self, x: Float[Tensor, "B T D"], rows: Int[Tensor, " M"]) -> Float[Tensor, "M D"]:
        """Return the convolution of sequences at some rows of the flattened output, as one product a group."""
        reads = self.reads_on(x.device)
        place = rows[:, None] % x.shape[1] + reads
        inputs = F.pad(x.flatten(0, 1), (0, 0, 0, 1))
        is_inside = (place >= 0) & (place < x.shape[1])
        # not inputs[...], whose gradient is scattered row by row
        taken = F.embedding(torch.where(is_inside, rows[:, None] + reads, len(inputs) - 1), inputs)
        taps = self.taps()
        if self.conv.groups == 1:  # one product, which a batch of one would round otherwise
            return taken.flatten(1) @ taps.flatten(0, 2)
        return torch.einsum("mkgi,kgio->mgo", taken.unflatten(2, (self.conv.groups, -1)), taps).flatten(1)

    def partly(self) -> PartialLayer:
        """Return the layer, of sequences, as :func:`~.partial.encode_partly` takes it."""
        return PartialLayer(self.reads, lambda x: self(x, None), self.at)

    def at(self, x: Float[Tensor, "B N D"], have: Int[Tensor, " N"], want: Int[Tensor, " M"]) -> Float[Tensor, "B M D"]:
        """Return the outputs at the positions ``want`` from the inputs at ``have``, by a product a tap."""
        tapped = want[:, None] + self.reads_on(x.device)
        index = torch.searchsorted(have, tapped).clamp_(max=len(have) - 1)
        index = torch.where(have[index] == tapped, index, len(have))  # past an end: the row of zeros
        inner = F.pad(self.conv_norm(x), (0, 0, 0, 1))
        taps = self.taps().contiguous()
        mixed = residual(x[:, torch.searchsorted(have, want)])
        for rows, tap in zip(index.unbind(1), taps, strict=True):  # all taps at once would take their number in memory
            taken = inner.index_select(1, rows)  # faster than inner[:, rows]
            if len(tap) == 1:
                mixed = mixed + taken @ tap[0]
            else:
                mixed = mixed + torch.einsum("bmgi,gio->bmgo", taken.unflatten(2, (len(tap), -1)), tap).flatten(2)
        return self.feed_forward(mixed)


@dataclass(frozen=True, slots=True)
class TokenPlaces:
    """Where the tokens of padded rows lie."""

    keep: Float[Tensor, "B T 1"]
    """1 for tokens, 0 for padding."""
    index: Int[Tensor, " N"]
    """Those of tokens in the flattened rows."""
    packing: Packing
    """Their documents."""


class ConvNet(Backbone):
    """A stack of dilated convolutions and a final norm.

    Parameters
    ----------
    config
        Sizes.
    layout
        A sequence (of any length) or a grid.
    """

    takes_rows = True
    is_local = True

    def __init__(self, config: ModelConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.layers = nn.ModuleList(self.layer(index) for index in range(config.depth))
        self.final_norm = layer_norm(config.width)

    def layer(self, index: int) -> nn.Module:
        """Return a new layer for this place in the stack."""
        return ConvLayer(self.config, index, len(self.layout.axes))

    @classmethod
    def why_unsuited(cls, layout: Layout) -> str | None:
        """Return why it cannot encode tokens of this layout; None if it can."""
        return None if layout.axes else "a convolution mixes neighbours, and these tokens are a set without any"

    def encode(
        self, x: Float[Tensor, "B T D"], documents: Int[Tensor, "B T"] | None, lengths: Lengths | None = None
    ) -> Float[Tensor, "B T D"]:
        """Encode rows of documents; zero where there is padding."""
        if documents is None:
            return self(x)
        valid = documents >= 0
        lengths = lengths or sequence_lengths(valid, documents)
        # documents of one row are moved apart, so far that no convolution reaches from one into the next
        gap = max((layer.reach for layer in self.layers if isinstance(layer, ConvLayer)), default=0)
        size = x.shape[1] + gap * max(max(map(len, lengths)) - 1, 0)
        number = (documents.diff(dim=1, prepend=documents[:, :1]) != 0).cumsum(1)  # of a document in its row
        place = torch.arange(x.shape[1], device=x.device) + gap * number
        flat = flat_lengths(lengths)
        source = valid.flatten().nonzero_static(size=sum(flat)).squeeze(1)
        rows = torch.arange(len(x), device=x.device)[:, None] * size
        index = (rows + place).flatten()[source]
        apart = x.new_zeros(len(x) * size, x.shape[2]).index_copy(0, index, x.flatten(0, 1)[source])
        keep = x.new_zeros(len(x) * size, 1).index_fill(0, index, 1.0)
        tokens = TokenPlaces(keep.view(len(x), size, 1), index, Packing.of_tokens(index, flat, size))
        encoded = self(apart.view(len(x), size, -1), tokens).flatten(0, 1)[index]
        return encoded.new_zeros(x.shape).flatten(0, 1).index_copy(0, source, encoded).view(x.shape)

    def partial_layers(self, x: Float[Tensor, "B T D"]) -> list[PartialLayer] | None:
        """Return the layers for :meth:`encode_span`: along a sequence, each reads the taps of its kernel."""
        if len(self.layout.axes) != 1:
            return None
        return [layer.partly() for layer in cast(list[ConvLayer], list(self.layers))]

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        tokens: TokenPlaces | None = None,
        rows: Int[Tensor, " M"] | None = None,
    ) -> Float[Tensor, "*M D"]:
        """Encode samples without padding, or with ``tokens``; ``--compile`` compiles this call.

        With ``rows``, return these of the flattened output only.
        """
        scope = self.scope(x, tokens)
        for layer in self.layers:
            x = self.through(layer, x, tokens, scope, rows if layer is self.layers[-1] else None)
        return self.final_norm(x)

    def scope(self, x: Float[Tensor, "B T D"], tokens: TokenPlaces | None) -> Scope | None:
        """Return what layers of attention share in a call; convolutions share nothing."""
        return None

    def through(
        self,
        layer: nn.Module,
        x: Float[Tensor, "B T D"],
        tokens: TokenPlaces | None,
        scope: Scope | None,
        rows: Int[Tensor, " M"] | None,
    ) -> Float[Tensor, "*M D"]:
        """Apply a layer; ``tokens`` and ``rows`` as of a call."""
        axes = x.shape[1:2] if len(self.layout.axes) == 1 else self.layout.axes
        keep = None if tokens is None else tokens.keep.unflatten(1, axes)
        y = run_layer(layer, x.unflatten(1, axes), keep, rows, recompute=self.gradient_checkpointing)
        return y.flatten(1, -2) if rows is None else y
