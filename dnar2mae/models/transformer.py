"""The Transformer encoder, arithmetically ModernBERT: pre-norm, rotary positions, GeGLU, no biases.

References
----------
.. [1] Warner et al., "Smarter, better, faster, longer: a modern bidirectional encoder", arXiv 2412.13663.
.. [2] Su et al., "RoFormer: enhanced Transformer with rotary position embedding", arXiv 2104.09864.
.. [3] Heo et al., "Rotary position embedding for vision transformer", arXiv 2403.13298.
"""

from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float, Int, Num
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dnar2mae.batch import SEQUENCE, Layout, Lengths, flat_lengths, sequence_lengths
from dnar2mae.config import ModelConfig
from dnar2mae.models.attention import Backend, attention
from dnar2mae.models.backbone import Backbone
from dnar2mae.models.packing import Packing
from dnar2mae.models.partial import PartialLayer

NORM_EPS = 1e-5
_GRID_THETA = 100.0  # far below a sequence's, since a grid has few rows and columns
_OFFSETS = 8  # tokens to either side that heads look at in the beginning
_CONSTANT, _PULL = 0.08, 0.4  # by trial: the constant in the embeddings, and the weights that read it


def layer_norm(width: int) -> nn.LayerNorm:
    """Return a layer norm without a bias."""
    return nn.LayerNorm(width, eps=NORM_EPS, bias=False)


def residual(x: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
    """Return the residual stream in fp32 under autocast: the 16 bits of embeddings are too few to add small updates."""
    return x.float() if x.dtype.itemsize == 2 and torch.is_autocast_enabled(x.device.type) else x


def rotary_angles(
    length: int, head_width: int, theta: float, device: torch.device
) -> tuple[Float[Tensor, "T R"], Float[Tensor, "T R"]]:
    """Return cosine and sine of ``position * theta ** (-2 i / head_width)``, i < head_width / 2, in fp32."""
    exponent = torch.arange(0, head_width, 2, dtype=torch.float32, device=device) / head_width
    angle = torch.outer(torch.arange(length, dtype=torch.float32, device=device), theta**-exponent)
    return angle.cos(), angle.sin()


def grid_angles(
    axes: tuple[int, ...], length: int, head_width: int, device: torch.device
) -> tuple[Float[Tensor, "T R"], Float[Tensor, "T R"]]:
    """Return cosine and sine of row angles, then of column angles; all angles are 0 where there are no axes."""
    parts = [torch.zeros(length, head_width // 2, device=device)]
    if axes:
        position = torch.arange(length, device=device)
        rows = head_width // 4  # pairs
        parts = [
            torch.outer(coordinate.float(), _GRID_THETA ** -(torch.arange(count, device=device) / count))
            for coordinate, count in ((position // axes[1], rows), (position % axes[1], head_width // 2 - rows))
            if count
        ]
    angle = torch.cat(parts, dim=1)
    return angle.cos(), angle.sin()


class RotateQueriesAndKeys(torch.autograd.Function):
    """Split the joint projection and rotate queries and keys by their position's angles; the values are a view.

    Written out because the gradient of a rotation is the rotation back, and because three gradients land in one
    buffer: half the memory traffic of what autograd would do.
    """

    @staticmethod
    def forward(
        ctx: Any, qkv: Float[Tensor, "*N 3 H K"], *angles: Num[Tensor, "*P R"]
    ) -> tuple[Float[Tensor, "*N H K"], Float[Tensor, "*N H K"], Float[Tensor, "*N H K"]]:
        """Return queries, keys and values; ``angles`` are :class:`Scope`'s."""
        angles = tuple((x if x.is_complex() else x.to(qkv.dtype))[..., None, :] for x in angles)
        ctx.save_for_backward(*angles)
        query, key = rotate(qkv[..., :2, :, :], *(x[..., None, :, :] for x in angles)).unbind(-3)
        return query, key, qkv[..., 2, :, :]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Rotate the gradients of queries and keys back."""
        first, *second = ctx.saved_tensors
        back = [first, -second[0]] if second else [first.conj().resolve_conj()]
        nothing = (None,) * len(back)
        if torch.compiler.is_compiling():
            return torch.stack([*(rotate(grad, *back) for grad in grads[:2]), grads[2]], dim=-3), *nothing
        joint = grads[0].new_empty(*grads[0].shape[:-2], 3, *grads[0].shape[-2:])
        for grad, part in zip(grads[:2], joint.unbind(-3)[:2], strict=True):
            rotate(grad, *back, out=part)
        joint[..., 2, :, :] = grads[2]
        return joint, *nothing


def rotate(x: Tensor, cos: Tensor, sin: Tensor | None = None, *, out: Tensor | None = None) -> Tensor:
    """Rotate the pairs (i, i + K/2) of the last axis by the angles of these cosines and sines.

    Without ``sin``, ``cos`` has complex numbers ``exp(i angle)``, and the pairs are (2 i, 2 i + 1).
    """
    if sin is None:
        x = x if x.stride(-1) == 1 else x.contiguous()
        out = x.new_empty(x.shape) if out is None else out
        torch.mul(_as_complex(x), cos, out=_as_complex(out))
        return out
    first, second = x.chunk(2, dim=-1)
    if torch.compiler.is_compiling():  # the compiler fuses this form, and cannot write into slices
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
    out = torch.mul(x, torch.cat([cos, cos], dim=-1), out=out)
    out_first, out_second = out.chunk(2, dim=-1)
    out_first.addcmul_(second, sin, value=-1)
    out_second.addcmul_(first, sin)
    return out


def _as_complex(x: Float[Tensor, "*N K"]) -> Complex[Tensor, "*N R"]:
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)))


class GeGlu(torch.autograd.Function):
    """Product of one half of the last axis and the other's GELU; both halves of the gradient land in one buffer."""

    @staticmethod
    def forward(ctx: Any, joint: Float[Tensor, "*N E"]) -> Float[Tensor, "*N D"]:
        """Return ``gelu(first half) * second half``."""
        value, gate = joint.chunk(2, dim=-1)
        activated = F.gelu(value)
        ctx.save_for_backward(joint, activated)
        return activated * gate

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """Return the gradient of ``joint``."""
        joint, activated = ctx.saved_tensors
        value, gate = joint.chunk(2, dim=-1)
        if torch.compiler.is_compiling():
            return torch.cat([torch.ops.aten.gelu_backward(grads[0] * gate, value), grads[0] * activated], dim=-1)
        d_joint = torch.empty_like(joint)
        d_value, d_gate = d_joint.chunk(2, dim=-1)
        d_activated = torch.mul(grads[0], gate, out=d_gate)  # which is written last
        torch.ops.aten.gelu_backward.grad_input(d_activated, value, grad_input=d_value)
        torch.mul(grads[0], activated, out=d_gate)
        return d_joint


class Scope(NamedTuple):
    """Rotary angles and window of the global or of the local layers, computed once per forward pass."""

    cos: Float[Tensor, "*P R"]
    sin: Float[Tensor, "*P R"]
    window: int | None
    turns: Complex[Tensor, "*P R"] | None
    """``exp(i angle)`` in fp32 on a CPU: a rotation of pairs side by side is one product, in a third of the time."""


def run_layer(layer: nn.Module, *inputs: Any, recompute: bool) -> Tensor:
    """Apply a layer; with ``recompute`` its activations are not kept but computed again in the backward pass."""
    if recompute and torch.is_grad_enabled():
        return checkpoint(layer, *inputs, use_reentrant=False)
    return layer(*inputs)


class FeedForwardLayer(nn.Module):
    """Base class of layers that end with a GeGLU block, added to the residual stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.mlp_norm = layer_norm(config.width)
        self.mlp_in = nn.Linear(config.width, 2 * config.mlp_width, bias=False)
        self.mlp_out = nn.Linear(config.mlp_width, config.width, bias=False)

    def feed_forward(self, x: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
        """Add the output of the GeGLU block."""
        return x + self.mlp_out(GeGlu.apply(self.mlp_in(self.mlp_norm(x))))


class Layer(FeedForwardLayer):
    """Attention and feed-forward block, each added to the residual stream.

    Parameters
    ----------
    config
        Sizes.
    index
        Index in the stack; layer 0 has no attention norm (its input is normalised already), and every
        ``global_every``-th layer is global.
    """

    def __init__(self, config: ModelConfig, index: int) -> None:
        super().__init__(config)
        width = config.width
        self.heads = config.heads
        self.is_global = index % config.global_every == 0
        self.attention_norm: nn.Module = layer_norm(width) if index else nn.Identity()
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)

    def forward(
        self,
        x: Float[Tensor, "*N D"],
        scope: Scope,
        packing: Packing | None,
        backend: Backend,
        rows: Int[Tensor, " M"] | None = None,
    ) -> Float[Tensor, "*M D"]:
        """Apply the layer; with ``rows``, return these of the flattened output only."""
        query, key, value = self.rotated(self.attention_norm(x), scope)
        mixed = attention(query, key, value, packing=packing, window=scope.window, backend=backend)
        mixed = mixed.flatten(-2)
        if rows is not None:
            x, mixed = (part.flatten(0, -2)[rows] for part in (x, mixed))
        return self.feed_forward(residual(x) + self.attention_out(mixed))

    def rotated(self, x: Float[Tensor, "*N D"], scope: Scope) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values; the order of channels is the same in queries and keys, and free."""
        by_part = (3, self.heads, -1)
        if scope.turns is None or type(self.qkv) is not nn.Linear:  # LoRA's has more than a weight
            return RotateQueriesAndKeys.apply(self.qkv(x).unflatten(-1, by_part), scope.cos, scope.sin)
        halves = self.qkv.weight.unflatten(0, (3, self.heads, 2, -1))
        side_by_side = torch.cat([halves[:2].transpose(2, 3).flatten(0, 3), halves[2].flatten(0, 2)])
        return RotateQueriesAndKeys.apply(F.linear(x, side_by_side).unflatten(-1, by_part), scope.turns)

    def partly(self, scope: Scope, backend: Backend) -> PartialLayer:
        """Return the layer as :func:`~.partial.encode_partly` takes it."""
        window = scope.window
        reads = None if window is None else range(-window, window + 1)
        return PartialLayer(
            reads, lambda x: self(x, scope, None, backend), lambda x, have, want: self.at(x, have, want, scope)
        )

    def at(
        self, x: Float[Tensor, "B N D"], have: Int[Tensor, " N"], want: Int[Tensor, " M"], scope: Scope
    ) -> Float[Tensor, "B M D"]:
        """Return the outputs at the positions ``want`` from the inputs at ``have``, by attention between the two."""
        width, own = x.shape[-1], torch.searchsorted(have, want)
        normed = self.attention_norm(x)
        query = F.linear(normed[:, own], self.qkv.weight[:width]).unflatten(-1, (self.heads, -1))
        key, value = F.linear(normed, self.qkv.weight[width:]).unflatten(-1, (2, self.heads, -1)).unbind(-3)
        cos, sin = (angle.to(key.dtype)[:, None] for angle in (scope.cos, scope.sin))
        query, key = rotate(query, cos[want], sin[want]), rotate(key, cos[have], sin[have])
        visible = None if scope.window is None else (want[:, None] - have).abs() <= scope.window
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=visible).transpose(1, 2)
        return self.feed_forward(residual(x[:, own]) + self.attention_out(mixed.flatten(-2)))


class Transformer(Backbone):
    """A stack of layers and a final norm.

    Parameters
    ----------
    config
        Sizes, local and global layers, rotary bases.
    layout
        How the tokens lie: a sequence of any length; a grid, whose rotary positions are those of rows in one half of
        the pairs and of columns in the other [3]_; a set without positions. Grids and sets have no local layers.
    """

    takes_packed = takes_rows = True
    dynamic_shapes = None

    def __init__(self, config: ModelConfig, layout: Layout = SEQUENCE) -> None:
        super().__init__(config, layout)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.depth))
        self.final_norm = layer_norm(config.width)

    def forward(
        self, x: Float[Tensor, "*N D"], packing: Packing | None = None, rows: Int[Tensor, " M"] | None = None
    ) -> Float[Tensor, "*M D"]:
        """Encode embedded tokens.

        Parameters
        ----------
        x
            Embeddings [B, T, D] of sequences of one length, or [N, D] with ``packing``.
        packing
            Where the sequences lie in a packed batch.
        rows
            Which rows of the flattened output are wanted; by default all.

        Returns
        -------
        Tensor
            One vector per token, in the layout of ``x``; or those of ``rows``, [M, D].
        """
        everywhere, nearby = self.scopes(x, packing)
        for layer in self.layers:
            scope = everywhere if layer.is_global else nearby
            wanted = rows if layer is self.layers[-1] else None
            x = run_layer(layer, x, scope, packing, self.backend, wanted, recompute=self.gradient_checkpointing)
        return self.final_norm(x)

    def encode(
        self, x: Float[Tensor, "B T D"], documents: Int[Tensor, "B T"] | None, lengths: Lengths | None = None
    ) -> Float[Tensor, "B T D"]:
        """Encode rows of documents; padding is not computed."""
        if documents is None:
            if self._compiled_call_impl is not None:  # training and validation get a graph each, no symbolic batch
                torch._dynamo.mark_static(x)
            return self(x)
        valid = documents >= 0
        flat = flat_lengths(lengths or sequence_lengths(valid, documents))
        index = valid.flatten().nonzero_static(size=sum(flat)).squeeze(1)
        rows = x.flatten(0, 1)
        hidden = self(rows.index_select(0, index), Packing.of_tokens(index, flat, x.shape[1]))
        return hidden.new_zeros(rows.shape).index_copy(0, index, hidden).view(x.shape)

    def prepare_initial(self, name: str, value: Tensor) -> None:
        """Let each head of a sequence's layers look at one offset, up to 8 tokens to either side, in the beginning.

        All embeddings have the same number in channel 0, which the tied output ignores: it moves all logits alike.
        Queries and keys read it such that their rotary product is largest at the offset. Without that, heads take
        hundreds of steps to find the neighbours that a masked base depends on most.
        """
        if len(self.layout.axes) != 1:
            return
        if name == "embedder.embedding.weight":
            value[:, 0] = _CONSTANT
        elif name.startswith("encoder.layers.") and name.endswith("qkv.weight"):
            index, config = int(name.split(".")[2]), self.config
            theta = config.global_rope_theta if index % config.global_every == 0 else config.local_rope_theta
            cos, sin = rotary_angles(_OFFSETS + 1, config.width // config.heads, theta, value.device)
            pairs = cos.shape[1]
            for head in range(config.heads):
                offset = 1 + (head // 2 + index * config.heads // 2) % _OFFSETS
                query, key = value.view(3, config.heads, 2, pairs, config.width)[:2, head, :, :, 0]
                sign = 1 if head % 2 else -1  # to the left, to the right
                query.copy_(_PULL * torch.stack([cos[offset], sign * sin[offset]]))
                key.copy_(_PULL * torch.stack([torch.ones(pairs), torch.zeros(pairs)]))

    def partial_layers(self, x: Float[Tensor, "B T D"]) -> list[PartialLayer]:
        """Return the layers for :meth:`encode_span`; a local one reads its window."""
        everywhere, nearby = self.scopes(x, None)
        layers = cast(list[Layer], list(self.layers))
        return [layer.partly(everywhere if layer.is_global else nearby, self.backend) for layer in layers]

    def scopes(self, x: Float[Tensor, "*N D"], packing: Packing | None) -> tuple[Scope, Scope]:
        """Return the scopes of global and of local layers."""
        return global_scope(self, x, packing), _scope(
            self, x, packing, self.config.local_rope_theta, self.config.local_tokens // 2
        )


def global_scope(encoder: Backbone, x: Float[Tensor, "*N D"], packing: Packing | None) -> Scope:
    """Return the rotary angles of an encoder's global layers."""
    return _scope(encoder, x, packing, encoder.config.global_rope_theta, None)


def _scope(encoder: Backbone, x: Tensor, packing: Packing | None, theta: float, window: int | None) -> Scope:
    length = x.shape[1] if packing is None else packing.num_positions
    head_width = encoder.config.width // encoder.config.heads
    if len(encoder.layout.axes) == 1:
        cos, sin = rotary_angles(length, head_width, theta, x.device)
    else:
        cos, sin = grid_angles(encoder.layout.axes, length, head_width, x.device)
        window = None  # neighbours in memory are not neighbours on a grid or in a set
    if packing is not None:
        cos, sin = cos[packing.positions], sin[packing.positions]
    is_fp32_on_cpu = x.device.type == "cpu" and x.dtype is torch.float32 and not torch.is_autocast_enabled("cpu")
    turns = torch.complex(cos, sin) if is_fp32_on_cpu and not torch.compiler.is_compiling() else None
    return Scope(cos, sin, window, turns)
