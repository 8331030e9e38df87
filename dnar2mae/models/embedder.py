"""From a batch to vectors, masked or not: the part of a model that knows what tokens are."""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dnar2mae.batch import Batch
from dnar2mae.kernels.backend import Backend
from dnar2mae.kernels.masked_embedding import masked_embedding
from dnar2mae.kernels.visible_gather import VisibleTokens, visible_gather
from dnar2mae.masking import MaskPlan, corrupt
from dnar2mae.models.transformer import NORM_EPS, layer_norm
from dnar2mae.tokenizers import Vocabulary


class Embedder(nn.Module, ABC):
    """What every embedder does; ``width`` is the size of its vectors."""

    width: int
    kernels: Backend = "auto"

    @abstractmethod
    def forward(self, tokens: Int[Tensor, "B T"], values: Float[Tensor, "B T P"] | None = None) -> Tensor:
        """Embed tokens as they are, [B, T, D]."""

    @abstractmethod
    def masked(self, plan: MaskPlan, batch: Batch) -> tuple[Float[Tensor, "B T D"], Bool[Tensor, "B T"]]:
        """Embed what the encoder sees under a mask plan; and tell where a prediction is asked for."""

    @abstractmethod
    def visible(self, plan: MaskPlan, batch: Batch) -> VisibleTokens:
        """Embed and pack the tokens that a mask plan leaves visible."""

    def places(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"] | None:
        """What is known of a token that is hidden (its place, its gene); None: its position in the row at most."""
        return None


def _exists(batch: Batch) -> Bool[Tensor, "B T"]:
    return torch.ones_like(batch.maskable) if batch.documents is None else batch.documents >= 0


class TokenEmbedder(Embedder):
    """A normalised table of vectors, one a token id; masking and lookup are one kernel.

    Parameters
    ----------
    vocabulary
        Number of rows, and which of them are real tokens.
    width
        Size of a vector.
    """

    def __init__(self, vocabulary: Vocabulary, width: int) -> None:
        super().__init__()
        self.vocabulary, self.width = vocabulary, width
        self.embedding = nn.Embedding(vocabulary.size, width)
        self.norm = layer_norm(width)

    def table(self) -> Float[Tensor, "V D"]:
        """Normalised rows: normalising V rows once equals normalising every looked-up vector."""
        return F.layer_norm(self.embedding.weight, (self.width,), self.norm.weight, eps=NORM_EPS)

    def forward(self, tokens: Int[Tensor, "B T"], values: Float[Tensor, "B T P"] | None = None) -> Tensor:
        """Look up tokens as they are; values are not used."""
        return F.embedding(tokens, self.table())

    def masked(self, plan: MaskPlan, batch: Batch) -> tuple[Float[Tensor, "B T D"], Bool[Tensor, "B T"]]:
        """Draw the mask and look up what is shown, in one kernel."""
        return masked_embedding(
            self.table(), batch.tokens, batch.maskable, batch.sample_ids, plan, backend=self.kernels
        )

    def visible(self, plan: MaskPlan, batch: Batch) -> VisibleTokens:
        """Draw the mask and look up what is left, in one kernel."""
        return visible_gather(
            self.table(), batch.tokens, _exists(batch), batch.maskable, batch.sample_ids, plan, backend=self.kernels
        )


class ValueEmbedder(Embedder):
    r"""Tokens that carry numbers at known places: patches of an image, genes of a cell.

    .. math:: x_{b,t} = \mathrm{norm}(\mathrm{project}(v_{b,t}) + \mathrm{place}(k_{b,t}))

    A masked token keeps its place and loses its values: it shows a learned vector, or the values of another token of
    its sample, or its own, by the shares of the mask's ``replace``.

    Parameters
    ----------
    project
        Maps values [B, T, P] to vectors [B, T, D].
    place
        Maps token ids [B, T] to vectors [B, T, D], or to [T, D] where they do not depend on the sample.
    width
        D.
    """

    def __init__(self, project: nn.Module, place: nn.Module, width: int) -> None:
        super().__init__()
        self.width, self.project, self.place = width, project, place
        self.mask_vector = nn.Parameter(torch.zeros(width))
        self.norm = layer_norm(width)

    def places(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """Vectors of the tokens' places."""
        return self.place(tokens).expand(*tokens.shape, -1)

    def forward(self, tokens: Int[Tensor, "B T"], values: Float[Tensor, "B T P"] | None = None) -> Tensor:
        """Project the values as they are and add the places."""
        assert values is not None, "tokens of this kind carry values"
        return self.norm(self.project(values) + self.places(tokens))

    def masked(self, plan: MaskPlan, batch: Batch) -> tuple[Float[Tensor, "B T D"], Bool[Tensor, "B T"]]:
        """Draw which token's values every token shows, 0 standing for none."""
        assert batch.values is not None, "tokens of this kind carry values"
        own = torch.arange(1, batch.tokens.shape[1] + 1, device=batch.tokens.device).expand(batch.tokens.shape)
        source, predicted = corrupt(plan, own, batch.maskable, batch.sample_ids)
        shown = batch.values.gather(1, (source - 1).clamp(min=0)[..., None].expand_as(batch.values))
        projected = self.project(shown)
        projected = torch.where((source == 0)[..., None], self.mask_vector.to(projected.dtype), projected)
        return self.norm(projected + self.places(batch.tokens)), predicted

    def visible(self, plan: MaskPlan, batch: Batch) -> VisibleTokens:
        """Embed all, and gather those that are left."""
        rows = self(batch.tokens, batch.values).flatten(0, 1)
        number = torch.arange(len(rows), device=rows.device, dtype=torch.int32).view(batch.tokens.shape)
        return visible_gather(
            rows, number, _exists(batch), batch.maskable, batch.sample_ids, plan, backend=self.kernels
        )
