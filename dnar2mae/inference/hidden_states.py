"""Hidden states and masked predictions of many sequences, batched by length."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.genome.alphabet import complement
from dnar2mae.models import MaskedModel
from dnar2mae.tokenizers import KmerTokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedOptions:
    """How sequences become vectors."""

    pool: str = "mean"
    """mean or max over a sequence's known tokens (not those with an N), or none: one vector a token."""
    layer: int = -1
    """-1 (or the depth): the encoder's output after its final norm; i: the output of layer i; 0: token embeddings."""
    both_strands: bool = False
    """Average with the reverse complement, aligned base by base for none (for max, the larger)."""
    window_bp: int | None = None
    """Longest stretch encoded at once; longer sequences are cut into windows. By default that of the training."""
    batch_tokens: int | None = None
    """Tokens encoded at once; by default 4096 on a CPU, else 65536. Changes speed and memory only."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.pool not in ("mean", "max", "none"):
            raise ConfigError(f"--pool must be mean, max or none, got {self.pool}")
        for name in ("window_bp", "batch_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name.replace('_', '-')} must be at least 1, got {value}")


class SequencePiece(NamedTuple):
    """A window of one strand of a sequence."""

    sequence: int
    """Index of the sequence."""
    start: int
    """First token in the sequence, forward strand."""
    skip: int
    """Leading tokens, forward strand, that an earlier piece has covered."""
    tokens: Int[np.ndarray, " T"]
    """Ids as the model reads them."""
    flipped: bool
    """Reverse strand: the ids run from the sequence's end to its start."""


def pieces_of(
    tokenizer: KmerTokenizer, codes: Sequence[UInt8[np.ndarray, " _"]], window_bp: int, *, both_strands: bool
) -> Iterator[SequencePiece]:
    """Cut sequences into windows side by side; the last of a sequence is moved back to end where it ends.

    Raises
    ------
    SequenceError
        If a sequence is shorter than one token.
    """
    most = max(tokenizer.num_tokens(window_bp), 1)
    for index, sequence in enumerate(codes):
        total = tokenizer.num_tokens(len(sequence))
        if total < 1:
            raise SequenceError(
                f"sequence {index + 1}: {len(sequence)} bp is shorter than one token ({tokenizer.k} bp)"
            )
        covered = sequence[: (total - 1) * tokenizer.stride + tokenizer.k]
        ids = tokenizer.encode(covered)
        reverse = tokenizer.encode(complement(covered[::-1])) if both_strands else None
        for first in range(0, total, most):
            end = min(first + most, total)
            start = max(end - most, 0)
            yield SequencePiece(index, start, first - start, ids[start:end], flipped=False)
            if reverse is not None:
                yield SequencePiece(index, start, first - start, reverse[total - end : total - start], flipped=True)


def embed_codes(
    module: MaskedModel,
    tokenizer: KmerTokenizer,
    codes: Sequence[UInt8[np.ndarray, " _"]],
    *,
    options: EmbedOptions,
    window_bp: int,
    advance: Callable[[int], None] = lambda tokens: None,
) -> Float[np.ndarray, "N D"] | list[Float[np.ndarray, "_ D"]]:
    """Embed sequences of genome codes; see :meth:`dnar2mae.hub.Model.embed`.

    Parameters
    ----------
    options
        How.
    window_bp
        Longest stretch encoded at once.
    advance
        Called with the number of tokens that one more batch holds.

    Raises
    ------
    SequenceError
        If a sequence is shorter than one token.
    ConfigError
        If there is no such layer.
    """
    pool, both_strands = options.pool, options.both_strands
    pieces = list(pieces_of(tokenizer, codes, window_bp, both_strands=both_strands))
    sizes = [tokenizer.num_tokens(len(c)) if pool == "none" else 1 for c in codes]
    rows = [np.full((n, module.config.width), -np.inf if pool == "max" else 0, np.float32) for n in sizes]
    counts = np.zeros(len(codes), np.float32)
    for members, hidden in hidden_states(
        module, [p.tokens for p in pieces], layer=options.layer, batch_tokens=options.batch_tokens
    ):
        for piece, padded in zip((pieces[i] for i in members), hidden.float().cpu().numpy(), strict=True):
            forwards = slice(None, None, -1 if piece.flipped else 1)
            states = padded[: len(piece.tokens)][forwards][piece.skip :]
            known = states[piece.tokens[forwards][piece.skip :] >= tokenizer.vocabulary.first_real]
            row = rows[piece.sequence]
            if pool == "none":
                row[piece.start + piece.skip :][: len(states)] += states / (1 + both_strands)
            elif pool == "mean":
                row += known.sum(0)
                counts[piece.sequence] += len(known)
            elif len(known):
                np.maximum(row, known.max(0), out=row)
        advance(sum(len(pieces[i].tokens) for i in members))
    if pool == "none":
        return rows
    pooled = np.concatenate([np.zeros((0, module.config.width), np.float32), *rows])
    if pool == "mean":
        with np.errstate(invalid="ignore"):
            pooled /= counts[:, None]
    pooled[~np.isfinite(pooled)] = np.nan
    return pooled


@torch.inference_mode()
def hidden_states(
    module: MaskedModel,
    tokens: Sequence[Int[np.ndarray, " _"]],
    *,
    layer: int = -1,
    batch_tokens: int | None = None,
) -> Iterator[tuple[Int[np.ndarray, " B"], Float[Tensor, "B T D"]]]:
    """Encode sequences of token ids in batches of like length.

    Parameters
    ----------
    module
        The network.
    tokens
        Ids of each sequence, one or more.
    layer
        0 is the normalised embedding, i the output of the i-th layer, and the depth (or -1) that of the final norm.
    batch_tokens
        Most tokens of a batch, padding included (a longer sequence is a batch of its own); by default what suits
        the device.

    Yields
    ------
    members, hidden
        Indices of a batch's sequences and their vectors; those past a sequence's end are padding.

    Raises
    ------
    ConfigError
        If there is no such layer.
    """
    depth = module.config.depth
    if not -depth - 1 <= layer <= depth:
        raise ConfigError(f"--layer must be in -{depth + 1}..{depth}, got {layer}")
    device = next(module.parameters()).device
    for members in _batches([len(ids) for ids in tokens], batch_tokens or tokens_at_once(device)):
        lengths = np.array([len(tokens[i]) for i in members])
        padded = np.full((len(members), lengths.max()), module.vocabulary.pad_id, np.int32)
        for row, i in enumerate(members):
            padded[row, : lengths[row]] = tokens[i]
        valid = np.arange(lengths.max()) < lengths[:, None]
        mask = None if valid.all() else torch.from_numpy(valid).to(device)
        yield members, _at_layer(module, torch.from_numpy(padded).to(device), mask, layer % (depth + 1))


def tokens_at_once(device: torch.device) -> int:
    """Tokens of a batch that suit a device: 4096 fit a CPU's cache."""
    return 4096 if device.type == "cpu" else 65_536


def _batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[Int[np.ndarray, " B"]]:
    """Indices by falling length, in batches of at most this many tokens: the first one shows if memory suffices."""
    order = np.argsort(lengths, kind="stable")[::-1]
    start = 0
    while start < len(order):
        size = max(batch_tokens // lengths[order[start]], 1)
        yield order[start : start + size]
        start += size


def _at_layer(module: MaskedModel, tokens: Tensor, valid: Tensor | None, layer: int) -> Tensor:
    if layer == 0:
        return module.embedder(tokens)
    if layer == module.config.depth:
        return module(tokens, valid)
    kept: list[Tensor] = []
    hook = module.encoder.layers[layer - 1].register_forward_hook(lambda *call: kept.append(call[-1]))
    try:
        module(tokens, valid)
    finally:
        hook.remove()
    hidden = kept[0]
    if hidden.ndim == 3 or valid is None:
        return hidden
    return hidden.new_zeros(*tokens.shape, hidden.shape[-1]).masked_scatter(valid[..., None], hidden)
