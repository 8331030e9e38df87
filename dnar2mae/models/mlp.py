"""A residual multi-layer perceptron over the whole sample at once."""

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dnar2mae.batch import Layout, Lengths
from dnar2mae.config import ModelConfig
from dnar2mae.errors import ConfigError
from dnar2mae.models.backbone import Backbone
from dnar2mae.models.transformer import layer_norm, run_layer

_TRUNK_WIDTHS = 4  # trunk size in widths of a token


class MlpLayer(nn.Module):
    """Norm, two dense layers with a GELU between them, added to the residual stream."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp_norm = layer_norm(width)
        self.mlp_in = nn.Linear(width, width, bias=False)
        self.mlp_out = nn.Linear(width, width, bias=False)

    def forward(self, x: Float[Tensor, "B W"]) -> Float[Tensor, "B W"]:
        """Apply the layer."""
        return x + self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(x))))


class Mlp(Backbone):
    r"""A perceptron on one vector per sample, to which every token contributes a few numbers and gets a few back.

    .. math:: h = W_1 [U x_1; \ldots; U x_T], \quad h \leftarrow h + f(h), \quad
              y_t = \mathrm{norm}(x_t + V (W_2 h)_t)

    Parameters
    ----------
    config
        ``depth`` layers of ``4 * width``; ``mlp_channels`` numbers per token.
    layout
        Its ``tokens`` are T.
    """

    def __init__(self, config: ModelConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        num_tokens = layout.tokens
        channels = config.mlp_channels or min(max(2048 // num_tokens, 1), config.width)
        trunk = _TRUNK_WIDTHS * config.width
        self.channels_in = nn.Linear(config.width, channels, bias=False)
        self.trunk_in = nn.Linear(num_tokens * channels, trunk, bias=False)
        self.layers = nn.ModuleList(MlpLayer(trunk) for _ in range(config.depth))
        self.trunk_norm = layer_norm(trunk)
        self.trunk_out = nn.Linear(trunk, num_tokens * channels, bias=False)
        self.channels_out = nn.Linear(channels, config.width, bias=False)
        self.final_norm = layer_norm(config.width)

    @classmethod
    def why_unsuited(cls, layout: Layout) -> str | None:
        """Return why it cannot encode tokens of this layout; None if it can."""
        fits = layout.aligned and layout.tokens > 0
        return None if fits else "it needs the same tokens in the same order in every sample, without padding"

    def pooled(
        self, x: Float[Tensor, "B T D"], documents: Int[Tensor, "B T"] | None, real: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B W"]:
        """Return its fp32 vector of each sample."""
        return self.trunk(x).float()

    def trunk(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B W"]:
        """Return the normalised vector of each sample."""
        h = self.trunk_in(self.channels_in(x).flatten(1))
        for layer in self.layers:
            h = run_layer(layer, h, recompute=self.gradient_checkpointing)
        return self.trunk_norm(h)

    def encode(
        self, x: Float[Tensor, "B T D"], documents: Int[Tensor, "B T"] | None, lengths: Lengths | None = None
    ) -> Float[Tensor, "B T D"]:
        """Encode samples of exactly ``layout.tokens`` tokens; ``lengths`` is not used.

        Raises
        ------
        ConfigError
            If there are more or fewer, or padding.
        """
        if x.shape[1] != self.layout.tokens or documents is not None:
            raise ConfigError(
                f"the mlp backbone takes samples of exactly {self.layout.tokens} tokens, as in training; "
                f"got {x.shape[1]}{'' if documents is None else ' with padding'}"
            )
        return self(x)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """Encode samples of the right length; ``--compile`` compiles this call."""
        back = self.trunk_out(self.trunk(x)).unflatten(1, (self.layout.tokens, -1))
        return self.final_norm(x + self.channels_out(back))
