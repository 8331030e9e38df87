"""The masked model: embedder, encoder, and a head applied at masked positions only; two objectives."""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dnar2mae.batch import SEQUENCE, Batch, Layout, flat_lengths
from dnar2mae.config import ModelConfig
from dnar2mae.errors import ConfigError
from dnar2mae.kernels.backend import Backend as KernelBackend
from dnar2mae.kernels.backend import use_triton
from dnar2mae.masking import MaskPlan, draw_masks
from dnar2mae.models.attention import Backend as AttentionBackend
from dnar2mae.models.backbone import build_encoder
from dnar2mae.models.embedder import Embedder, TokenEmbedder
from dnar2mae.models.head import Head, TokenHead
from dnar2mae.models.packing import Packing
from dnar2mae.models.strands import StrandSymmetry
from dnar2mae.models.transformer import layer_norm
from dnar2mae.tokenizers import Vocabulary

_SD, _SD_WIDTH = 0.02, 768  # ModernBERT-base's
_RESIDUAL = ("attention_out.weight", "mlp_out.weight", "conv.weight")
_INTO_DECODER = ("decoder.project_in", "decoder.project_place")  # they read vectors of the encoder's width
_MULTIPLE = 128  # predictions are padded to this multiple: oneDNN keeps code and buffers for every size it meets


class Decoder(nn.Module):
    """The light decoder of the ``mae`` objective: encoded visible tokens, and a mask vector wherever one is missing.

    Parameters
    ----------
    config
        Sizes of the encoder and, as ``decoder_*``, of the decoder.
    layout
        How the tokens lie.
    has_places
        Whether tokens have places (see :meth:`.Embedder.places`), which are added to visible and masked ones.
    backend
        How attention is computed.
    gradient_checkpointing
        Recompute each layer in the backward pass.
    """

    def __init__(
        self,
        config: ModelConfig,
        layout: Layout,
        *,
        has_places: bool,
        backend: AttentionBackend,
        gradient_checkpointing: bool,
    ) -> None:
        super().__init__()
        width = config.decoder_width
        sizes = ModelConfig(
            width=width,
            depth=config.decoder_depth,
            heads=config.decoder_heads,
            mlp_width=width * 3 // 2,
            global_rope_theta=config.global_rope_theta,
        )
        self.project_in = nn.Linear(config.width, width, bias=False)
        self.project_place = nn.Linear(config.width, width, bias=False) if has_places else None
        self.mask_vector = nn.Parameter(torch.zeros(width))
        self.norm_in = layer_norm(width)  # the first layer has none
        self.layers = build_encoder(sizes, layout, gradient_checkpointing=gradient_checkpointing, attention=backend)
        self.project_out = nn.Linear(width, config.width, bias=False)

    def forward(
        self,
        encoded: Float[Tensor, "N D"],
        index: Int[Tensor, " N"],
        batch: Batch,
        places: Float[Tensor, "B T D"] | None,
        rows: Int[Tensor, " M"],
    ) -> Float[Tensor, "M D"]:
        """Put the encoded tokens back at ``index`` of the flattened batch, decode the full samples, return ``rows``."""
        projected = self.project_in(encoded)
        full = self.mask_vector.to(projected.dtype).expand(batch.tokens.numel(), -1)
        full = full.index_put((index,), projected).view(*batch.tokens.shape, -1)
        if self.project_place is not None and places is not None:
            full = full + self.project_place(places)
        return self.project_out(self.layers.encode_rows(self.norm_in(full), batch.documents, batch.lengths, rows))


class MaskedModel(nn.Module):
    """Embedder, encoder and head; :meth:`of_tokens` builds the model of a vocabulary.

    Under the ``mlm`` objective the encoder sees every token, masked ones as [MASK]. Under ``mae`` it sees visible
    tokens only, packed, and a light decoder restores the rest.

    Parameters
    ----------
    config
        Backbone and its sizes, and the objective.
    embedder, head
        The parts that depend on what a token is.
    layout
        How the tokens lie.
    gradient_checkpointing
        Recompute each layer in the backward pass.
    attention, kernels
        Backends of attention and of the masking kernels.

    Raises
    ------
    ConfigError
        If the backbone does not fit the layout or the objective.
    """

    def __init__(
        self,
        config: ModelConfig,
        embedder: Embedder,
        head: Head,
        layout: Layout,
        *,
        gradient_checkpointing: bool = False,
        attention: AttentionBackend = "auto",
        kernels: KernelBackend = "auto",
    ) -> None:
        super().__init__()
        self.config, self.layout = config, layout
        self.embedder, self.head = embedder, head
        embedder.kernels = kernels
        self.encoder = build_encoder(config, layout, gradient_checkpointing=gradient_checkpointing, attention=attention)
        self.symmetry: StrandSymmetry | None = None
        if isinstance(embedder, TokenEmbedder) and embedder.vocabulary.is_base:
            if config.strand_symmetric is not False and self.encoder.is_local:
                self.symmetry = StrandSymmetry(embedder.vocabulary)
        elif config.strand_symmetric:
            raise ConfigError("--model.strand-symmetric needs tokens of single bases: DNA with --tokenizer.k 1")
        self.decoder = None
        if config.objective == "mae":
            has_places = type(embedder).places is not Embedder.places
            self.decoder = Decoder(
                config,
                layout,
                has_places=has_places,
                backend=attention,
                gradient_checkpointing=gradient_checkpointing,
            )

    @classmethod
    def of_tokens(
        cls, config: ModelConfig, vocabulary: Vocabulary, layout: Layout | None = None, **settings: object
    ) -> "MaskedModel":
        """Build the model of a vocabulary, its output tied to the embedding.

        Parameters
        ----------
        config, settings
            As for the class.
        vocabulary
            Number of embedding rows and which of them are real tokens.
        layout
            How the tokens lie; by default a sequence of any length.
        """
        embedder, head = TokenEmbedder(vocabulary, config.width), TokenHead(vocabulary, config.width)
        return cls(config, embedder, head, layout or SEQUENCE, **settings)  # type: ignore[arg-type]

    def reset_parameters(
        self, generator: torch.Generator, copy: Callable[[Tensor, Tensor], object] = lambda to, value: to.copy_(value)
    ) -> None:
        """Draw the initial weights: normal, cut at 3 sd, outputs onto the residual stream scaled by 1/sqrt(2 depth).

        The sd is 0.02 at a width of 768, ModernBERT's, and goes with 1/sqrt(width): at 0.02 a narrow model starts with
        attention that is all but uniform, and takes long to leave it. The decoder goes by its own width and depth.

        Parameters
        ----------
        generator
            On the CPU.
        copy
            Copies a value into a parameter, or into the shard of it that this rank has.
        """
        for name, parameter in self.named_parameters():
            # drawn in full on the CPU: the same weights on any device, sharded or not
            value = torch.empty(parameter.shape)
            if name == "head.bias" and isinstance(self.head, TokenHead):
                value = self.head.initial_bias()
            elif name.endswith("bias"):
                value.zero_()
            elif parameter.ndim == 1 and not name.endswith("mask_vector"):
                value.fill_(1)
            else:
                sd = self._initial_sd(name)
                nn.init.trunc_normal_(value, std=sd, a=-3 * sd, b=3 * sd, generator=generator)
            self.encoder.prepare_initial(name, value)
            if self.symmetry is not None:
                value = self.symmetry.drawn(name, value)
            with torch.no_grad():
                copy(parameter, value)

    @property
    def is_strand_symmetric(self) -> bool:
        """Whether of the reverse complement it predicts the reverse complement, so that one strand tells both.

        That goes by the weights as they are: some that were changed elsewhere need not have the symmetry any more.
        """
        return self.symmetry is not None and self.symmetry.holds(self.named_parameters())

    def forward(
        self,
        tokens: Int[Tensor, "B T"],
        valid: Bool[Tensor, "B T"] | None = None,
        values: Float[Tensor, "B T P"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Encode unmasked tokens.

        Parameters
        ----------
        tokens
            Token ids.
        valid
            Which tokens are not padding, at the start of each row; by default all. Padding is not computed.
        values
            The numbers that tokens carry; None if they carry none.

        Returns
        -------
        Tensor
            One vector per token; zero where there is padding.
        """
        documents = None if valid is None or bool(valid.all()) else valid.int() - 1
        return self.encoder.encode(self.embedder(tokens, values), documents)

    def encode(self, batch: Batch) -> Float[Tensor, "B T D"]:
        """Encode the unmasked samples of a batch; zero where there is padding."""
        return self.encoder.encode(self.embedder(batch.tokens, batch.values), batch.documents)

    def pooled(self, batch: Batch) -> Float[Tensor, "B W"]:
        """Return one fp32 vector per sample; see :meth:`.backbone.Backbone.pooled`."""
        return self.encoder.pooled(self.embedder(batch.tokens, batch.values), batch.documents, batch.maskable)

    @property
    def vocabulary(self) -> Vocabulary:
        """Token ids by role; only a model of tokens has one."""
        assert isinstance(self.embedder, TokenEmbedder), "tokens that carry values have no vocabulary"
        return self.embedder.vocabulary

    def _initial_sd(self, name: str) -> float:
        """Return the standard deviation of a matrix's initial weights."""
        if (
            name == "embedder.embedding.weight"
        ):  # tied to the output: small, so that the first predictions are near uniform
            return _SD
        width, depth = self.config.width, self.config.depth
        if name.startswith("decoder.") and not name.startswith(_INTO_DECODER):
            width, depth = self.config.decoder_width, self.config.decoder_depth
        sd = _SD * math.sqrt(_SD_WIDTH / width)
        return sd / math.sqrt(2 * depth) if name.endswith(_RESIDUAL) else sd

    def logits(self, hidden: Float[Tensor, "... D"]) -> Float[Tensor, "... V"]:
        """Return the unnormalised log-probability of every token, in fp32."""
        assert isinstance(self.head, TokenHead)
        assert isinstance(self.embedder, TokenEmbedder), "only a vocabulary has logits"
        return self.head.logits(hidden, self.embedder)

    def decoded(
        self, plan: MaskPlan, batch: Batch, rows: Int[Tensor, " M"] | None = None
    ) -> tuple[Float[Tensor, "M D"], Int[Tensor, " M"]]:
        """Mask a batch, and encode what is visible.

        Parameters
        ----------
        plan
            How to mask.
        batch
            The samples, preferably with their masks already (:meth:`with_masks`).
        rows
            Positions in ``tokens.flatten()``; by default those of the predicted tokens, ascending, and the first token
            again and again up to a multiple of 128.

        Returns
        -------
        hidden
            The vectors at ``rows`` that the head gets.
        rows
            As given, or the default.
        """
        batch = self.with_masks(plan, batch)
        masks = batch.masks
        assert masks is not None
        if self.decoder is None:
            embedded, predicted = self.embedder.masked(plan, batch)
            rows = _rows(predicted, masks.num_predicted) if rows is None else rows
            return self.encoder.encode_rows(embedded, batch.documents, batch.lengths, rows), rows
        assert masks.visible_lengths is not None
        embedded, index, predicted = self.embedder.visible(plan, batch)
        packing = Packing.of_tokens(index, flat_lengths(masks.visible_lengths), batch.tokens.shape[1])
        encoded = self.encoder(embedded, packing)
        rows = _rows(predicted, masks.num_predicted) if rows is None else rows
        return self.decoder(encoded, index, batch, self.embedder.places(batch.tokens), rows), rows

    def draws_masks(self, plan: MaskPlan) -> bool:
        """Return whether the model's kernels draw the masks of a plan, so that the host needs only their counts."""
        embedder = self.embedder
        return isinstance(embedder, TokenEmbedder) and use_triton(embedder.kernels, embedder.embedding.weight, plan)

    def with_masks(self, plan: MaskPlan, batch: Batch) -> Batch:
        """Return a batch with its masks, drawn on its device unless it has them: on a GPU the host then waits."""
        if batch.masks is not None:
            return batch
        return draw_masks(plan, batch, self.config.objective, counts_only=self.draws_masks(plan))

    def masked_losses(self, plan: MaskPlan, batch: Batch) -> tuple[Float[Tensor, " M"], Int[Tensor, " M"]]:
        """Mask a batch, encode it, and predict what was masked.

        Parameters
        ----------
        plan, batch
            As of :meth:`decoded`.

        Returns
        -------
        losses
            Loss of each predicted token (in nats for a likelihood).
        index
            Their positions in ``tokens.flatten()``, ascending.
        """
        batch = self.with_masks(plan, batch)
        hidden, index = self.decoded(plan, batch)
        assert batch.masks is not None
        number = sum(batch.masks.num_predicted)
        losses = self.head.losses(hidden, batch, index, self.embedder)
        # the rows past ``number`` are cut off, so they have no gradient; a copy: FSDP warns of outputs that are views
        return losses[:number].clone(), index[:number]


def _rows(predicted: Bool[Tensor, "B T"], numbers: Sequence[int]) -> Int[Tensor, " M"]:
    """Return the positions of the predicted tokens, padded to a multiple by the first token's."""
    size = min(-(-sum(numbers) // _MULTIPLE) * _MULTIPLE, predicted.numel())
    return predicted.flatten().nonzero_static(size=size, fill_value=0).squeeze(1)
