"""Embedders turn the tokens of a batch into vectors, masked or not; they alone know what a token is."""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dnar2mae.batch import Batch, DrawnMasks
from dnar2mae.kernels.backend import Backend
from dnar2mae.kernels.masked_embedding import masked_embedding
from dnar2mae.kernels.visible_gather import visible_gather
from dnar2mae.masking import MaskPlan
from dnar2mae.models.transformer import NORM_EPS, layer_norm
from dnar2mae.tokenizers import Vocabulary

Visible = tuple[Float[Tensor, "N D"], Int[Tensor, " N"], Bool[Tensor, "B T"]]
"""Embeddings of the visible tokens, their indices in the flattened batch, and which tokens are predicted."""


class Embedder(nn.Module, ABC):
    """Base class of embedders; ``width`` is the size of their vectors."""

    width: int
    kernels: Backend = "auto"

    @abstractmethod
    def forward(self, tokens: Int[Tensor, "B T"], values: Float[Tensor, "B T P"] | None = None) -> Tensor:
        """Embed unmasked tokens, [B, T, D]."""

    @abstractmethod
    def masked(self, plan: MaskPlan, batch: Batch) -> tuple[Float[Tensor, "B T D"], Bool[Tensor, "B T"]]:
        """Embed what the encoder sees under a mask plan; return this and which tokens are predicted."""

    @abstractmethod
    def visible(self, plan: MaskPlan, batch: Batch) -> Visible:
        """Embed the tokens that a mask plan leaves visible; return them with their indices and what is predicted."""

    def places(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"] | None:
        """Return vectors of what stays known of a masked token (its place in a grid, its gene); None if nothing."""
        return None


def _matmul_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype of matrix products: vectors that go into one next are written in it at once."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def _drawn(batch: Batch) -> DrawnMasks:
    assert batch.masks is not None, "MaskedModel.with_masks comes first"
    return batch.masks


def _visible_index(visible: Bool[Tensor, "B T"], lengths: tuple[int, ...]) -> Int[Tensor, " N"]:
    """Return the indices of the visible tokens in the flattened batch."""
    # nonzero would make the host wait for the device to count; the host knows the number already
    return visible.flatten().nonzero_static(size=sum(lengths)).squeeze(1)


class TokenEmbedder(Embedder):
    """A table of one normalised vector per token id; masking and lookup are one kernel.

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
        """Return the normalised rows: normalising V rows once equals normalising every looked-up vector."""
        return F.layer_norm(self.embedding.weight, (self.width,), self.norm.weight, eps=NORM_EPS)

    def forward(self, tokens: Int[Tensor, "B T"], values: Float[Tensor, "B T P"] | None = None) -> Tensor:
        """Look up unmasked tokens; values are not used."""
        return F.embedding(tokens, self.table())

    def masked(self, plan: MaskPlan, batch: Batch) -> tuple[Float[Tensor, "B T D"], Bool[Tensor, "B T"]]:
        """Look up what the encoder sees; a kernel that draws the mask itself does so in the same launch."""
        masks, table = _drawn(batch), self.table()
        if masks.shown is not None and masks.predicted is not None:
            return F.embedding(masks.shown, table).to(_matmul_dtype(table)), masks.predicted
        dtype = _matmul_dtype(table)
        return masked_embedding(
            table, batch.tokens, batch.maskable, batch.sample_ids, plan, dtype=dtype, backend=self.kernels
        )

    def visible(self, plan: MaskPlan, batch: Batch) -> Visible:
        """Look up the visible tokens; kernels that draw the mask themselves do so in the same launch."""
        masks, table = _drawn(batch), self.table()
        dtype = _matmul_dtype(table)
        if masks.visible is not None and masks.predicted is not None:
            index = _visible_index(masks.visible, masks.num_visible)
            embedded = F.embedding(batch.tokens.flatten()[index], table).to(dtype)
            return embedded, index, masks.predicted
        samples = batch.tokens, batch.exists(), batch.maskable, batch.sample_ids
        lengths = masks.num_visible
        gathered = visible_gather(table, *samples, plan, lengths=lengths, dtype=dtype, backend=self.kernels)
        return gathered.embedded, gathered.flat_index, gathered.predicted


class ValueEmbedder(Embedder):
    r"""An embedder of tokens that carry numbers at known places: patches of an image, genes of a cell.

    .. math:: x_{b,t} = \mathrm{norm}(\mathrm{project}(v_{b,t}) + \mathrm{place}(k_{b,t}))

    A masked token keeps its place k and loses its values v: it shows a learned vector, the values of another token of
    its sample, or its own, with the probabilities of the mask's ``replace``.

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
        """Return the vectors of the tokens' places."""
        return self.place(tokens).expand(*tokens.shape, -1)

    def forward(self, tokens: Int[Tensor, "B T"], values: Float[Tensor, "B T P"] | None = None) -> Tensor:
        """Project the true values and add the places."""
        assert values is not None, "these tokens carry values"
        return self.norm(self.project(values) + self.places(tokens))

    def masked(self, plan: MaskPlan, batch: Batch) -> tuple[Float[Tensor, "B T D"], Bool[Tensor, "B T"]]:
        """Project the values that each token shows; one that shows none gets a learned vector."""
        masks = _drawn(batch)
        assert batch.values is not None, "these tokens carry values"
        assert masks.shown is not None
        assert masks.predicted is not None
        source = (masks.shown - 1).clamp(min=0).long()  # id 0 is [MASK], id t + 1 the values of token t
        projected = self.project(batch.values.gather(1, source[..., None].expand_as(batch.values)))
        projected = torch.where((masks.shown == 0)[..., None], self.mask_vector.to(projected.dtype), projected)
        return self.norm(projected + self.places(batch.tokens)), masks.predicted

    def visible(self, plan: MaskPlan, batch: Batch) -> Visible:
        """Embed all tokens, and gather the visible ones."""
        masks = _drawn(batch)
        assert masks.visible is not None
        assert masks.predicted is not None
        index = _visible_index(masks.visible, masks.num_visible)
        rows = self(batch.tokens, batch.values).flatten(0, 1)
        return rows.index_select(0, index), index, masks.predicted
