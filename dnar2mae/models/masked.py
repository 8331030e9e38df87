"""The masked model: embedding, encoder, and a head that sees masked positions only; two objectives."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dnar2mae.config import ModelConfig
from dnar2mae.kernels.backend import Backend as KernelBackend
from dnar2mae.kernels.masked_embedding import masked_embedding
from dnar2mae.kernels.visible_gather import visible_gather
from dnar2mae.masking import MaskPlan
from dnar2mae.models.attention import Backend as AttentionBackend
from dnar2mae.models.head import token_losses
from dnar2mae.models.packing import Packing
from dnar2mae.models.transformer import NORM_EPS, Transformer, layer_norm
from dnar2mae.tokenizers import Vocabulary

_NEVER = -1e4  # decoder bias of tokens that are never predicted: their softmax probability is exactly 0


class Decoder(nn.Module):
    """The light decoder of the ``mae`` objective: encoded visible tokens, and a mask vector wherever one is missing.

    Parameters
    ----------
    config
        Sizes of the encoder and, as ``decoder_*``, of the decoder.
    backend
        How attention is computed.
    """

    def __init__(self, config: ModelConfig, backend: AttentionBackend) -> None:
        super().__init__()
        width = config.decoder_width
        sizes = ModelConfig(
            width=width,
            depth=config.decoder_depth,
            heads=max(width // 64, 1),
            mlp_width=width * 3 // 2,
            global_rope_theta=config.global_rope_theta,
        )
        self.project_in = nn.Linear(config.width, width, bias=False)
        self.mask_vector = nn.Parameter(torch.zeros(width))
        self.layers = Transformer(sizes, backend=backend)
        self.project_out = nn.Linear(width, config.width, bias=False)

    def forward(
        self, encoded: Float[Tensor, "N D"], packing: Packing, batch: int, length: int
    ) -> Float[Tensor, "B T D"]:
        """Put the encoded tokens back in their places and decode the whole samples."""
        sample = packing.segments(len(encoded))
        projected = self.project_in(encoded)
        whole = self.mask_vector.to(projected.dtype).expand(batch * length, -1)
        whole = whole.index_put((sample * length + packing.positions,), projected)
        return self.project_out(self.layers(whole.view(batch, length, -1)))


class MaskedModel(nn.Module):
    """Embedding with norm, Transformer, and a prediction head tied to the embedding.

    Under the ``mlm`` objective the encoder sees every token, masked ones as [MASK]. Under ``mae`` it sees visible
    tokens only, packed, and a light decoder restores the rest.

    Parameters
    ----------
    config
        Sizes of the encoder, and the objective.
    vocabulary
        Number of embedding rows and which of them are real tokens.
    gradient_checkpointing
        Recompute each layer in the backward pass.
    attention, kernels
        Backends of attention and of the fused masking kernels.
    """

    def __init__(
        self,
        config: ModelConfig,
        vocabulary: Vocabulary,
        *,
        gradient_checkpointing: bool = False,
        attention: AttentionBackend = "auto",
        kernels: KernelBackend = "auto",
    ) -> None:
        super().__init__()
        self.config, self.vocabulary, self.kernels = config, vocabulary, kernels
        width = config.width
        self.embedding = nn.Embedding(vocabulary.size, width)
        self.embedding_norm = layer_norm(width)
        self.encoder = Transformer(config, gradient_checkpointing=gradient_checkpointing, backend=attention)
        self.decoder = Decoder(config, attention) if config.objective == "mae" else None
        self.head_dense = nn.Linear(width, width, bias=False)
        self.head_norm = layer_norm(width)
        self.head_bias = nn.Parameter(torch.zeros(vocabulary.size))

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw the initial weights: normal of sd 0.02 cut at 3 sd, residual outputs scaled by 1/sqrt(2 depth)."""
        for name, parameter in self.named_parameters():
            if name == "head_bias":
                nn.init.zeros_(parameter)
            elif parameter.ndim == 1 and name != "decoder.mask_vector":
                nn.init.ones_(parameter)
            else:
                is_residual = name.endswith(("attention_out.weight", "mlp_out.weight"))
                sd = 0.02 / (math.sqrt(2 * self.config.depth) if is_residual else 1.0)
                nn.init.trunc_normal_(parameter, std=sd, a=-3 * sd, b=3 * sd, generator=generator)
        first, count = self.vocabulary.first_real, self.vocabulary.num_real
        with torch.no_grad():
            self.head_bias[:first] = _NEVER
            self.head_bias[first + count :] = _NEVER

    def embedding_table(self) -> Float[Tensor, "V D"]:
        """Normalised embedding rows: normalising V rows once equals normalising every looked-up vector."""
        return F.layer_norm(self.embedding.weight, (self.config.width,), self.embedding_norm.weight, eps=NORM_EPS)

    def forward(self, tokens: Int[Tensor, "B T"], valid: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B T D"]:
        """Encode token ids as they are.

        Parameters
        ----------
        tokens
            Token ids.
        valid
            Which tokens are not padding, at the start of each row; by default all. Padding is not computed.

        Returns
        -------
        Tensor
            One vector a token; zero where there is padding.
        """
        embedded = F.embedding(tokens, self.embedding_table())
        if valid is None or bool(valid.all()):
            return self.encoder(embedded)
        hidden = self.encoder(embedded[valid], Packing.of_valid(valid))
        return hidden.new_zeros(*tokens.shape, hidden.shape[-1]).masked_scatter(valid[..., None], hidden)

    def logits(self, hidden: Float[Tensor, "... D"]) -> Float[Tensor, "... V"]:
        """Unnormalised log-probabilities of every token, in fp32."""
        return F.linear(self._head(hidden), self.embedding.weight).float() + self.head_bias

    def masked_losses(
        self,
        plan: MaskPlan,
        tokens: Int[Tensor, "B T"],
        maskable: Bool[Tensor, "B T"],
        sample_ids: Int[Tensor, " B"],
        *,
        capacity: int | None = None,
    ) -> tuple[Float[Tensor, " M"], Int[Tensor, " M"]]:
        """Mask a batch, encode it, and predict what was masked.

        Parameters
        ----------
        plan
            How to mask.
        tokens, maskable, sample_ids
            As :func:`dnar2mae.masking.corrupt` takes them.
        capacity
            Most predictions that can be asked for, so that no size waits for the device; by default their number is
            read from it.

        Returns
        -------
        losses
            Cross-entropy of each predicted token in nats; zero for unused places of the capacity.
        index
            Their places in ``tokens.flatten()``, ascending; -1 for unused places.
        """
        table = self.embedding_table()
        if self.decoder is None:
            embedded, predicted = masked_embedding(table, tokens, maskable, sample_ids, plan, backend=self.kernels)
            hidden = self.encoder(embedded)
        else:
            everything = torch.ones_like(maskable)
            visible = visible_gather(table, tokens, everything, maskable, sample_ids, plan, backend=self.kernels)
            packing = Packing(visible.cu_seqlens, visible.positions, visible.max_seqlen, tokens.shape[1])
            encoded = self.encoder(visible.embedded, packing)
            hidden, predicted = self.decoder(encoded, packing, *tokens.shape), visible.predicted
        return self._losses(hidden.flatten(0, 1), tokens.flatten(), predicted.flatten(), capacity)

    def _losses(
        self, hidden: Tensor, tokens: Tensor, predicted: Tensor, capacity: int | None
    ) -> tuple[Float[Tensor, " M"], Int[Tensor, " M"]]:
        if capacity is None:
            index = place = predicted.nonzero().squeeze(1)
        else:
            index = predicted.nonzero_static(size=min(capacity, len(predicted)), fill_value=-1).squeeze(1)
            place = index.clamp(min=0)
        losses = token_losses(self._head(hidden[place]), self.embedding.weight, self.head_bias, tokens[place].long())
        return losses * (index >= 0), index

    def _head(self, hidden: Float[Tensor, "... D"]) -> Float[Tensor, "... D"]:
        return self.head_norm(F.gelu(self.head_dense(hidden)))
