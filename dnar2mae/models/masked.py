"""The masked model: embedding, encoder, and a head that sees masked positions only."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dnar2mae.config import ModelConfig
from dnar2mae.masking import MaskPlan, corrupt
from dnar2mae.models.transformer import NORM_EPS, Transformer, layer_norm
from dnar2mae.tokenizers import Vocabulary

_NEVER = -1e4  # decoder bias of tokens that are never predicted: their softmax probability is exactly 0


class MaskedModel(nn.Module):
    """Embedding with norm, Transformer, and a prediction head tied to the embedding.

    Parameters
    ----------
    config
        Sizes of the encoder.
    vocabulary
        Number of embedding rows and which of them are real tokens.
    gradient_checkpointing
        Recompute each layer in the backward pass.
    """

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary, *, gradient_checkpointing: bool = False) -> None:
        super().__init__()
        self.config, self.vocabulary = config, vocabulary
        width = config.width
        self.embedding = nn.Embedding(vocabulary.size, width)
        self.embedding_norm = layer_norm(width)
        self.encoder = Transformer(config, gradient_checkpointing=gradient_checkpointing)
        self.head_dense = nn.Linear(width, width, bias=False)
        self.head_norm = layer_norm(width)
        self.head_bias = nn.Parameter(torch.zeros(vocabulary.size))

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw the initial weights: normal of sd 0.02 cut at 3 sd, residual outputs scaled by 1/sqrt(2 depth)."""
        for name, parameter in self.named_parameters():
            if name == "head_bias":
                nn.init.zeros_(parameter)
            elif parameter.ndim == 1:
                nn.init.ones_(parameter)
            else:
                shrink = math.sqrt(2 * self.config.depth) if name.endswith("_out.weight") else 1.0
                sd = 0.02 / shrink
                nn.init.trunc_normal_(parameter, std=sd, a=-3 * sd, b=3 * sd, generator=generator)
        first, count = self.vocabulary.first_real, self.vocabulary.num_real
        with torch.no_grad():
            self.head_bias[:first] = _NEVER
            self.head_bias[first + count :] = _NEVER

    def embedding_table(self) -> Float[Tensor, "V D"]:
        """Normalised embedding rows: normalising V rows once equals normalising every looked-up vector."""
        return F.layer_norm(self.embedding.weight, (self.config.width,), self.embedding_norm.weight, eps=NORM_EPS)

    def forward(self, tokens: Int[Tensor, "B T"], valid: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B T D"]:
        """Encode token ids as they are; see :class:`Transformer`."""
        return self.encoder(F.embedding(tokens, self.embedding_table()), valid)

    def logits(self, hidden: Float[Tensor, "... D"]) -> Float[Tensor, "... V"]:
        """Unnormalised log-probabilities of every token, in fp32."""
        dense = self.head_norm(F.gelu(self.head_dense(hidden)))
        return F.linear(dense, self.embedding.weight).float() + self.head_bias

    def masked_losses(
        self,
        plan: MaskPlan,
        tokens: Int[Tensor, "B T"],
        maskable: Bool[Tensor, "B T"],
        sample_ids: Int[Tensor, " B"],
    ) -> tuple[Float[Tensor, " M"], Bool[Tensor, "B T"]]:
        """Mask a batch, encode it, and predict what was masked.

        Parameters
        ----------
        plan
            How to mask.
        tokens, maskable, sample_ids
            As :func:`dnar2mae.masking.corrupt` takes them.

        Returns
        -------
        losses
            Cross-entropy of each predicted token in nats, in the row-major order of ``predicted``.
        predicted
            Where they are.
        """
        inputs, predicted = corrupt(plan, tokens, maskable, sample_ids)
        hidden = self.encoder(F.embedding(inputs, self.embedding_table()))
        logits = self.logits(hidden[predicted])
        return F.cross_entropy(logits, tokens[predicted].long(), reduction="none"), predicted
