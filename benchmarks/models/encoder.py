"""An encoder in use: tokens, one vector a token, pooled vectors of sequences."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dnar2mae.benchmarks.models.pooling import UNITS, VECTOR, batched, by_name, pool_layers
from dnar2mae.benchmarks.tasks.sequences import reverse_complement
from dnar2mae.errors import ConfigError

MAX_TRUNCATED_SHARE = 0.01
"""Share of rows that a model may cut without being asked to: more would change what the task is."""
CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 2048, 65_536


class Tokens(NamedTuple):
    """One tokenized sequence."""

    ids: Int[np.ndarray, " T"]
    pooled: Bool[np.ndarray, " T"]
    """Which tokens count in the mean: all but special ones."""


class TokenBatch(NamedTuple):
    """Padded token sequences."""

    ids: Int[Tensor, "B T"]
    valid: Bool[Tensor, "B T"]
    """Not padding."""
    pooled: Bool[Tensor, "B T"]
    """Counts in the mean."""


class LayerVectors(NamedTuple):
    """What a network makes of a batch."""

    layers: list[Tensor]
    """Vectors ``[B, T, D]`` of the layers that are pooled, those of the last one last."""
    units: list[Tensor] = []
    """Hidden units ``[B, T, M]`` of their feed-forward blocks; empty if not wanted or the architecture is not known."""


Layers = Callable[[nn.Module, Int[Tensor, "B T"], Bool[Tensor, "B T"], bool], LayerVectors]
"""From a network, ids, what is valid, and whether units are wanted, which take memory."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoder:
    """A network with its tokenizer."""

    name: str
    kind: str
    """checkpoint, random or huggingface."""
    module: nn.Module
    """``module(ids [B, T], valid [B, T]) -> [B, T, D]``."""
    width: int
    """Size D of a token's vector."""
    tokenize: Callable[[str], Tokens]
    pad_id: int
    tokenization: str
    """base, kmer or bpe."""
    digest: str
    """Hash of the weights."""
    random_like: Callable[[int], nn.Module]
    """The same network with fresh weights of a seed."""
    layers: Layers
    """See there; also of the network with fresh weights."""
    window_bp: int | None = None
    """Length of the windows it was pretrained on."""
    context_tokens: int | None = None
    """Longest input; None where there is no limit."""
    precision: str = "fp32"
    """fp32, or bf16: matrix products in bfloat16 (autocast)."""
    sees_padding: bool = False
    """The network takes no padding mask, so that a batch must hold sequences of one length."""

    @property
    def device(self) -> torch.device:
        """Return the device that the network is on."""
        return next(self.module.parameters()).device

    @property
    def num_parameters(self) -> int:
        """Return the number of weights."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    def with_random_weights(self, seed: int) -> "Encoder":
        """Return the control: the same architecture, tokenizer and pooling, nothing learned."""
        module = self.random_like(seed).to(self.device).eval()
        return replace(self, name=f"{self.name} (random weights)", kind="random", module=module)

    def tokens(self, sequences: Sequence[str], *, allow_truncation: bool = False) -> list[Tokens]:
        """Tokenize; sequences beyond the context are cut at their end.

        Raises
        ------
        ConfigError
            Over 1 % of the sequences would be cut, or one has no token.
        """
        tokens = [self.tokenize(sequence) for sequence in sequences]
        empty = next((i for i, t in enumerate(tokens) if not t.pooled.any()), None)
        if empty is not None:
            raise ConfigError(f"{self.name}: a sequence of {len(sequences[empty])} bp has no token")
        limit = self.context_tokens
        if limit is None:
            return tokens
        num_cut = sum(len(t.ids) > limit for t in tokens)
        if num_cut > MAX_TRUNCATED_SHARE * len(tokens) and not allow_truncation:
            raise ConfigError(
                f"{self.name}: {num_cut} of {len(tokens)} sequences are longer than its context of {limit} tokens; "
                "--allow-truncation cuts them"
            )
        return [Tokens(t.ids[:limit], t.pooled[:limit]) for t in tokens]

    def collate(self, tokens: Sequence[Tokens]) -> TokenBatch:
        """Pad to the longest and move to the network's device."""
        return pad(tokens, self.pad_id, self.device)

    def embed(
        self,
        sequences: Sequence[str],
        *,
        both_strands: bool = False,
        allow_truncation: bool = False,
        batch_tokens: int | None = None,
    ) -> Float[np.ndarray, "N D"]:
        """Return the mean over tokens of the last layer's vectors.

        Parameters
        ----------
        sequences
            Upper-case A, C, G, T, N.
        both_strands
            Average with the vector of the reverse complement.
        allow_truncation
            See :meth:`tokens`.
        batch_tokens
            Tokens in memory at once, padding included; by default 2048 on a CPU (what its cache holds), 65536 on a
            GPU. Changes speed, not results beyond rounding.

        Returns
        -------
        array
            ``float32``.

        Raises
        ------
        ConfigError
            See :meth:`tokens`.
        """

        def mean(batch: TokenBatch) -> dict[str, Tensor]:
            return {VECTOR: mean_pool(self.module(batch.ids, batch.valid).float(), batch.pooled)}

        return self._pooled(sequences, mean, both_strands, allow_truncation, batch_tokens)[VECTOR]

    def poolings(
        self,
        sequences: Sequence[str],
        wanted: Collection[str],
        *,
        both_strands: bool = False,
        allow_truncation: bool = False,
    ) -> dict[str, Float[np.ndarray, "N _"]]:
        """Return what :meth:`embed` does as ``vector`` and, from the same pass, mean and maximum over tokens.

        Parameters
        ----------
        sequences, both_strands, allow_truncation
            As for :meth:`embed`.
        wanted
            Names of what takes time or memory: ``units``, ``bins``, ``bins8``, ``early_bins``, ``early_bins8``,
            ``centre``.

        Returns
        -------
        dict
            ``last``, ``middle`` and ``all`` layers (see :func:`.pooling.pooled_layers`), and what is wanted as far as
            the network has it: hidden units of these layers, a layer in four or eight equal parts of the sequence, and
            the last one's eight tokens in the middle.

        Raises
        ------
        ConfigError
            See :meth:`tokens`.
        """
        numbers = []

        def pool(batch: TokenBatch) -> dict[str, Tensor]:
            layers, units = self.layers(self.module, batch.ids, batch.valid, UNITS in wanted)
            numbers.append(len(layers))
            return pool_layers(layers, batch.pooled, units=units, wanted=wanted)

        named = by_name(self._pooled(sequences, pool, both_strands, allow_truncation, None), numbers[0])
        return {VECTOR: named["last"][:, : self.width], **named}

    def _pooled(
        self,
        sequences: Sequence[str],
        pool: Callable[[TokenBatch], dict[str, Tensor]],
        both_strands: bool,
        allow_truncation: bool,
        batch_tokens: int | None,
    ) -> dict[str, Float[np.ndarray, "N _"]]:
        """Return what a function makes of each batch, for all sequences."""
        if both_strands:
            strands = (list(sequences), [reverse_complement(sequence) for sequence in sequences])
            there, back = (self._pooled(s, pool, False, allow_truncation, batch_tokens) for s in strands)
            return {name: (there[name] + back[name]) / 2 for name in there}
        tokens = self.tokens(sequences, allow_truncation=allow_truncation)

        def run(rows: Sequence[int]) -> dict[str, Tensor]:
            with autocast(self.precision, self.device):
                return pool(self.collate([tokens[i] for i in rows]))

        return batched(run, list(self.batches(tokens, batch_tokens)))

    def batches(self, tokens: Sequence[Tokens], batch_tokens: int | None = None) -> Iterator[list[int]]:
        """Yield rows in order of length, cut where the padded batch would be too large; see :meth:`embed`."""
        batch_tokens = batch_tokens or (CPU_BATCH_TOKENS if self.device.type == "cpu" else GPU_BATCH_TOKENS)
        lengths = [len(t.ids) for t in tokens]
        rows: list[int] = []
        for i in sorted(range(len(tokens)), key=lengths.__getitem__):
            too_large = (len(rows) + 1) * lengths[i] > batch_tokens
            if rows and (too_large or (self.sees_padding and lengths[i] != lengths[rows[0]])):
                yield rows
                rows = []
            rows.append(i)
        if rows:
            yield rows


def pad(tokens: Sequence[Tokens], pad_id: int, device: torch.device | str = "cpu") -> TokenBatch:
    """Pad to the longest of the sequences."""
    lengths = np.array([len(t.ids) for t in tokens])
    valid = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(valid.shape, pad_id, np.int64)
    pooled = np.zeros_like(valid)
    ids[valid] = np.concatenate([t.ids for t in tokens])
    pooled[valid] = np.concatenate([t.pooled for t in tokens])
    return TokenBatch(*(torch.from_numpy(x).to(device) for x in (ids, valid, pooled)))


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return the context in which a network computes in this precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def mean_pool(hidden: Float[Tensor, "B T D"], pooled: Bool[Tensor, "B T"]) -> Float[Tensor, "B D"]:
    """Return the mean over the tokens that count."""
    weight = pooled.to(hidden.dtype)
    return torch.einsum("btd,bt->bd", hidden, weight) / weight.sum(1, keepdim=True)
