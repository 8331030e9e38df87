"""Prediction heads: from vectors at masked positions to losses, never holding all logits of a large vocabulary."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from dnar2mae.batch import Batch
from dnar2mae.models.embedder import Embedder, TokenEmbedder
from dnar2mae.models.transformer import layer_norm
from dnar2mae.tokenizers import Vocabulary

_CHUNK_LOGITS = 1 << 25  # logits held at once: 128 MB in fp32
_NEVER = -1e4  # decoder bias of tokens that are never predicted: their softmax probability is exactly 0


class Head(nn.Module, ABC):
    """Base class of prediction heads."""

    @abstractmethod
    def losses(
        self, hidden: Float[Tensor, "M D"], batch: Batch, index: Int[Tensor, " M"], embedder: Embedder
    ) -> Float[Tensor, " M"]:
        """Return the loss of each predicted token, fp32.

        Parameters
        ----------
        hidden
            Vectors at the predicted positions.
        batch
            The samples, unmasked.
        index
            Positions in ``batch.tokens.flatten()``.
        embedder
            The model's embedder, for heads whose output is tied to it.
        """


class _Transform(Head, ABC):
    """A dense layer, GELU and a norm before the output, as ModernBERT has them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width, bias=False)
        self.norm = layer_norm(width)

    def transform(self, hidden: Float[Tensor, "... D"]) -> Float[Tensor, "... D"]:
        """Transform encoder vectors for the output layer."""
        return self.norm(F.gelu(self.dense(hidden)))


class TokenHead(_Transform):
    """Cross-entropy of the true token, the output tied to the embedding; never predicts a special token.

    Parameters
    ----------
    vocabulary
        Number of tokens, and which of them are real.
    width
        Size of a vector.
    """

    def __init__(self, vocabulary: Vocabulary, width: int) -> None:
        super().__init__(width)
        self.bias = nn.Parameter(torch.zeros(vocabulary.size))
        self.real = slice(vocabulary.first_real, vocabulary.first_real + vocabulary.num_real)

    def initial_bias(self) -> Float[Tensor, " V"]:
        """Return 0 for real tokens, and for the others a bias so low that they have no probability."""
        bias = torch.full(self.bias.shape, _NEVER)
        bias[self.real] = 0.0
        return bias

    def logits(self, hidden: Float[Tensor, "... D"], embedder: TokenEmbedder) -> Float[Tensor, "... V"]:
        """Return the unnormalised log-probability of every token, in fp32."""
        return F.linear(self.transform(hidden), embedder.embedding.weight).float() + self.bias

    def losses(
        self, hidden: Float[Tensor, "M D"], batch: Batch, index: Int[Tensor, " M"], embedder: Embedder
    ) -> Float[Tensor, " M"]:
        """Return the cross-entropy in nats."""
        assert isinstance(embedder, TokenEmbedder), "the head is tied to a table of tokens"
        labels = batch.tokens.flatten()[index].long()
        return token_losses(self.transform(hidden), embedder.embedding.weight, self.bias, labels)


class ValueHead(_Transform):
    """A prediction of numbers, and a loss against the token's true values.

    Parameters
    ----------
    width
        Size of a vector.
    num_outputs
        Numbers predicted for a token.
    loss
        Maps predictions [M, Q] and true values [M, P], both fp32, to losses [M].
    """

    def __init__(self, width: int, num_outputs: int, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__(width)
        self.output = nn.Linear(width, num_outputs)
        self.loss = loss

    def predict(self, hidden: Float[Tensor, "... D"]) -> Float[Tensor, "... Q"]:
        """Return the predicted numbers, fp32."""
        return self.output(self.transform(hidden)).float()

    def losses(
        self, hidden: Float[Tensor, "M D"], batch: Batch, index: Int[Tensor, " M"], embedder: Embedder
    ) -> Float[Tensor, " M"]:
        """Return the loss of each predicted token against its values."""
        assert batch.values is not None, "these tokens carry values"
        return self.loss(self.predict(hidden), batch.values.flatten(0, 1)[index].float())


def token_losses(
    hidden: Float[Tensor, "M D"], weight: Float[Tensor, "V D"], bias: Float[Tensor, " V"], labels: Int[Tensor, " M"]
) -> Float[Tensor, " M"]:
    r"""Return the cross-entropy of each token under ``softmax(hidden weight' + bias)``, in nats.

    .. math:: \ell_m = \log \sum_v \exp(w_v \cdot h_m + b_v) - w_{y_m} \cdot h_m - b_{y_m}

    Parameters
    ----------
    hidden
        Vectors at the predicted positions.
    weight, bias
        Decoder, tied to the embedding.
    labels
        True token ids.

    Returns
    -------
    Tensor
        fp32 losses. For more than 2**25 logits they are computed chunk by chunk, and once more in the backward pass.
    """
    if len(hidden) * len(weight) <= _CHUNK_LOGITS:
        return F.cross_entropy(F.linear(hidden, weight).float() + bias, labels, reduction="none")
    if torch.is_autocast_enabled(hidden.device.type):
        hidden, weight = (x.to(torch.get_autocast_dtype(hidden.device.type)) for x in (hidden, weight))
    return _ChunkedCrossEntropy.apply(hidden, weight, bias, labels)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Cross-entropy whose logits exist one chunk at a time."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
        """Return the losses of all rows."""
        ctx.save_for_backward(hidden, weight, bias, labels)
        losses = [
            F.cross_entropy(F.linear(hidden[rows], weight).float() + bias, labels[rows], reduction="none")
            for rows in _chunks(len(hidden), len(weight))
        ]
        return torch.cat(losses)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Compute the logits again; their gradient is (softmax - one-hot) times the gradient of the loss."""
        hidden, weight, bias, labels = ctx.saved_tensors
        d_hidden = torch.empty_like(hidden)
        d_weight = torch.zeros_like(weight, dtype=torch.float32)  # a sum over chunks, which 16 bits would round
        d_bias = torch.zeros_like(bias)
        for rows in _chunks(len(hidden), len(weight)):
            d_logits = (F.linear(hidden[rows], weight).float() + bias).softmax(-1)
            d_logits.scatter_add_(1, labels[rows, None], d_logits.new_full((len(d_logits), 1), -1.0))
            d_logits *= grads[0][rows, None]
            d_bias += d_logits.sum(0)
            d_logits = d_logits.to(hidden.dtype)
            d_hidden[rows] = d_logits @ weight
            d_weight += d_logits.T @ hidden[rows]
        return d_hidden, d_weight.to(weight.dtype), d_bias, None


def _chunks(num_rows: int, num_columns: int) -> list[slice]:
    size = max(_CHUNK_LOGITS // num_columns, 1)
    return [slice(start, start + size) for start in range(0, num_rows, size)]
