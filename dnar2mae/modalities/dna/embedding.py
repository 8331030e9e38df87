"""Embedding sequences: windows, both strands, pooling; memory does not grow with the input."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from dnar2mae.errors import SequenceError
from dnar2mae.genome.alphabet import complement
from dnar2mae.modalities.dna.options import DnaEmbedOptions
from dnar2mae.modalities.dna.pieces import PieceTokenizer
from dnar2mae.modalities.dna.sequences import Sequences
from dnar2mae.models import MaskedModel
from dnar2mae.models.hidden_states import hidden_states
from dnar2mae.models.pooling import pooled_layers
from dnar2mae.storage.progress import progress_bar
from dnar2mae.tokenizers import KmerTokenizer

_BLOCK_TOKENS = 1 << 18  # embedded at once, which bounds memory
DnaTokenizer = KmerTokenizer | PieceTokenizer
Codes = UInt8[np.ndarray, " L"]


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


def grid(tokenizer: DnaTokenizer) -> KmerTokenizer:
    """Return the tokens between which a sequence may be cut: single bases, where tokens have no fixed positions."""
    return tokenizer if isinstance(tokenizer, KmerTokenizer) else KmerTokenizer()


def ids_of(tokenizer: DnaTokenizer, codes: Codes) -> Int[np.ndarray, " T"]:
    """Return the token ids of one stretch of genome codes."""
    return tokenizer.encode(codes) if isinstance(tokenizer, KmerTokenizer) else tokenizer.encode(codes[None])[0].ids


@dataclass(frozen=True, kw_only=True)
class SequenceEmbedder:
    """A model with its tokenizer and the options by which it embeds sequences."""

    model: MaskedModel
    tokenizer: DnaTokenizer
    options: DnaEmbedOptions
    window_bp: int
    """Longest stretch encoded at once, unless the options name one."""

    @property
    def width(self) -> int:
        """Numbers in a token's vector."""
        model = self.model.config
        return len(pooled_layers(model.depth)) * model.mlp_width if self.options.layer == "units" else model.width

    @property
    def window(self) -> int:
        """Tokens of the grid in a window."""
        return max(grid(self.tokenizer).num_tokens(self.options.window_bp or self.window_bp), 1)

    def embed(
        self, codes: Sequence[UInt8[np.ndarray, " _"]], advance: Callable[[int], None] = lambda tokens: None
    ) -> Float[np.ndarray, "N D"] | list[Float[np.ndarray, "_ D"]]:
        """Embed sequences of genome codes.

        Parameters
        ----------
        codes
            The sequences.
        advance
            Called after each batch with its number of tokens.

        Returns
        -------
        float32 [N, D], or for ``pool="none"`` a list of float32 [T, D]
            In the order of ``codes``; NaN for a sequence without a known token.

        Raises
        ------
        SequenceError
            If a sequence is shorter than one token.
        ConfigError
            If there is no such layer.

        Notes
        -----
        Windows of a long sequence lie side by side; the last is moved back to end with the sequence, and only its
        new tokens count. Tokens of a ``tokenizer.json`` have no fixed positions, so there the last window is shorter.
        """
        pool, both_strands = self.options.pool, self.options.both_strands
        pieces, width = list(self._pieces(codes)), self.width
        sizes = [grid(self.tokenizer).num_tokens(len(c)) if pool == "none" else 1 for c in codes]
        rows = [np.zeros((n, width), np.float32) for n in sizes]
        largest = np.full((len(codes) if "max" in pool else 0, width), -np.inf, np.float32)
        counts = np.zeros(len(codes), np.float32)
        for members, hidden in hidden_states(
            self.model,
            [p.tokens for p in pieces],
            layer=self.options.layer,
            batch_tokens=self.options.batch_tokens,
        ):
            for piece, padded in zip((pieces[i] for i in members), hidden.float().cpu().numpy(), strict=True):
                # on the reverse strand the last token comes first: turn it round, so that tokens of both strands align
                states = padded[: len(piece.tokens)][:: -1 if piece.flipped else 1][piece.skip :]
                known = states[self._known(piece)]
                row = rows[piece.sequence]
                if pool == "none":
                    row[piece.start + piece.skip :][: len(states)] += states / (1 + both_strands)
                    continue
                if "mean" in pool:
                    row += known.sum(0)
                    counts[piece.sequence] += len(known)
                if "max" in pool and len(known):
                    np.maximum(largest[piece.sequence], known.max(0), out=largest[piece.sequence])
            advance(sum(len(pieces[i].tokens) for i in members))
        if pool == "none":
            return rows
        with np.errstate(invalid="ignore"):  # 0 / 0 where no token is known
            mean = np.concatenate([np.zeros((0, width), np.float32), *rows]) / counts[:, None]
        pooled = np.concatenate([{"mean": mean, "max": largest}[part] for part in pool.split("-")], 1)
        pooled[~np.isfinite(pooled)] = np.nan
        return pooled

    def blocks(self, sequences: Sequences, *, progress: bool) -> Iterator[Float[np.ndarray, "_ D"]]:
        """Embed consecutive sequences of a file, about ``_BLOCK_TOKENS`` tokens at a time."""
        num_tokens = np.array([grid(self.tokenizer).num_tokens(n) for n in sequences.lengths.tolist()], np.int64)
        ends = np.cumsum(num_tokens)
        first = 0
        with progress_bar("embedding", int(ends[-1]), show=progress) as update:
            while first < len(ends):
                before = int(ends[first - 1]) if first else 0
                last = max(int(np.searchsorted(ends, before + _BLOCK_TOKENS, side="right")), first + 1)
                if num_tokens[first] > _BLOCK_TOKENS:
                    yield from self._stretches(sequences.codes(first), before, update)
                else:
                    block = self.embed([sequences.codes(i) for i in range(first, last)])
                    yield np.concatenate(block) if isinstance(block, list) else block
                first = last
                update(int(ends[last - 1]))

    def _stretches(
        self, codes: Codes, before: int, update: Callable[[int], None]
    ) -> Iterator[Float[np.ndarray, "_ D"]]:
        """Embed a long sequence by stretches of full windows: the same rows as all at once, in bounded memory."""
        tokens, window, pool = grid(self.tokenizer), self.window, self.options.pool
        total = tokens.num_tokens(len(codes))
        cuts = [*range(0, total, window * max(_BLOCK_TOKENS // window, 1)), total]
        if len(cuts) > 2 and total - cuts[-2] < window:  # the last window is as long as the others
            del cuts[-2]
        parts = pool.split("-")
        pooled: np.ndarray = np.full((1, len(parts) * self.width), np.nan, np.float32)
        known = 0
        for first, last in itertools.pairwise(cuts):
            part = codes[first * tokens.stride : (last - 1) * tokens.stride + tokens.k]
            vectors = self.embed([part])
            update(before + last)
            if isinstance(vectors, list):
                yield vectors[0]
                continue
            count = sum(int(self._known(piece).sum()) for piece in self._pieces([part]))
            known += count
            if not count:
                continue
            halves = (np.split(array, len(parts), 1) for array in (pooled, vectors))
            for how, old, new in zip(parts, *halves, strict=True):
                # into the array itself; fmax, because it is NaN before the first known token
                mean = np.nan_to_num(old)
                old[:] = np.fmax(old, new) if how == "max" else mean + (new - mean) * np.float32(count / known)
        if pool != "none":
            yield pooled

    def _known(self, piece: SequencePiece) -> Bool[np.ndarray, " _"]:
        """Return which of a piece's new tokens, forward strand, have no unknown base."""
        return self.tokenizer.vocabulary.is_real(piece.tokens[:: -1 if piece.flipped else 1][piece.skip :])

    def _pieces(self, codes: Sequence[UInt8[np.ndarray, " _"]]) -> Iterator[SequencePiece]:
        tokens, both_strands = grid(self.tokenizer), self.options.both_strands
        for index, sequence in enumerate(codes):
            total = tokens.num_tokens(len(sequence))
            if total < 1:
                raise SequenceError(
                    f"sequence {index + 1}: {len(sequence)} bp is shorter than one token ({tokens.k} bp)"
                )
            if isinstance(self.tokenizer, PieceTokenizer):
                yield from _pieces_of_windows(self.tokenizer, index, sequence, self.window, both_strands)
            else:
                covered = sequence[: (total - 1) * tokens.stride + tokens.k]
                yield from _pieces_of_tokens(self.tokenizer, index, covered, self.window, both_strands)


def _pieces_of_tokens(
    tokenizer: KmerTokenizer, index: int, covered: Codes, window: int, both_strands: bool
) -> Iterator[SequencePiece]:
    """Cut tokens at fixed positions into windows side by side, the last moved back to end with the sequence."""
    ids = tokenizer.encode(covered)
    reverse = tokenizer.encode(complement(covered[::-1])) if both_strands else None
    total = len(ids)
    for first in range(0, total, window):
        end = min(first + window, total)
        start = max(end - window, 0)
        yield SequencePiece(index, start, first - start, ids[start:end], flipped=False)
        if reverse is not None:
            yield SequencePiece(index, start, first - start, reverse[total - end : total - start], flipped=True)


def _pieces_of_windows(
    tokenizer: PieceTokenizer, index: int, sequence: Codes, window: int, both_strands: bool
) -> Iterator[SequencePiece]:
    """Cut bases into windows side by side, and tokenize each window."""
    for first in range(0, len(sequence), window):
        part = sequence[first : first + window]
        yield SequencePiece(index, 0, 0, ids_of(tokenizer, part), flipped=False)
        if both_strands:
            yield SequencePiece(index, 0, 0, ids_of(tokenizer, complement(part[::-1])), flipped=True)
