"""Streams of tokens from chosen documents, the choice of those to hold out, and rows of a stream or of single texts."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int64

from dnar2mae.batch import Batch
from dnar2mae.errors import DataError
from dnar2mae.modalities.text.config import TextConfig
from dnar2mae.modalities.text.corpus import Corpus, Tokenizer
from dnar2mae.random import Stream, draw, unit
from dnar2mae.tokenizers import Vocabulary


class StreamPiece(NamedTuple):
    """A stretch of a stream."""

    tokens: np.ndarray
    """Token ids."""
    sizes: np.ndarray | None
    """Bytes of each token; None where it is one each."""
    documents: Int64[np.ndarray, " T"]
    """Number of the document that each belongs to, ascending, starting anywhere."""


class TokenStream:
    """Tokens of chosen documents, one document after the other; the corpora stay on the disk.

    For each corpus, ``chosen`` marks the documents in the stream. It has ``num_documents`` and ``num_tokens``.
    """

    def __init__(self, corpora: Sequence[Corpus], chosen: Sequence[Bool[np.ndarray, " _"]]) -> None:
        self.corpora = tuple(corpora)
        runs = []  # maximal runs of chosen documents: (corpus, first document, document after the last)
        for i, keep in enumerate(chosen):
            edges = np.flatnonzero(np.diff(keep, prepend=False, append=False))
            runs += [(i, first, end) for first, end in edges.reshape(-1, 2).tolist()]
        self._runs = np.array(runs, np.int64).reshape(-1, 3)
        lengths = [self.corpora[i].starts[end] - self.corpora[i].starts[first] for i, first, end in runs]
        self._ends = np.cumsum(lengths, dtype=np.int64)
        self._before = np.append(0, np.cumsum(self._runs[:, 2] - self._runs[:, 1]))  # documents before each run
        self.num_documents, self.num_tokens = int(self._before[-1]), int(self._ends[-1]) if runs else 0

    def read(self, start: int, count: int) -> StreamPiece:
        """Return the tokens ``[start, start + count)``."""
        parts = []
        while count > 0:
            run, corpus, at, end = self._find(start)
            take = min(count, end - at)
            first, last = np.searchsorted(corpus.starts, (at, at + take - 1), side="right") - 1
            edges = np.clip(corpus.starts[first : last + 2], at, at + take)
            number = np.repeat(np.arange(first, last + 1), np.diff(edges))
            number += self._before[run] - self._runs[run, 1]
            sizes = None if corpus.sizes is None else corpus.sizes[at : at + take]
            parts.append(StreamPiece(corpus.tokens[at : at + take], sizes, number))
            start, count = start + take, count - take
        if len(parts) == 1:
            return parts[0]
        tokens, sizes, number = zip(*parts, strict=True)
        joined = None if sizes[0] is None else np.concatenate(sizes)
        return StreamPiece(np.concatenate(tokens), joined, np.concatenate(number))

    def document_at(self, position: int) -> tuple[int, int]:
        """Return where the document of this token starts and ends in the stream."""
        _, corpus, at, _ = self._find(position)
        document = int(np.searchsorted(corpus.starts, at, side="right")) - 1
        shift = position - at
        return int(corpus.starts[document]) + shift, int(corpus.starts[document + 1]) + shift

    def lengths(self) -> Int64[np.ndarray, " D"]:
        """Return the number of tokens of each document, in order."""
        parts = [np.diff(self.corpora[i].starts[first : end + 1]) for i, first, end in self._runs.tolist()]
        return np.concatenate([np.empty(0, np.int64), *parts])

    def _find(self, position: int) -> tuple[int, Corpus, int, int]:
        """Return the run of a token, its corpus, and the positions in the corpus of the token and of the run's end."""
        run = int(np.searchsorted(self._ends, position, side="right"))
        i, _, end = self._runs[run]
        stop = int(self.corpora[i].starts[end])
        return run, self.corpora[i], stop - int(self._ends[run]) + position, stop


class Parts(NamedTuple):
    """The training and held-out documents of corpora."""

    training: TokenStream
    held_out: TokenStream
    duplicates: int
    """Documents that would be held out but are also trained on, left out of both."""


def divide(corpora: Sequence[Corpus], validation: Sequence[Corpus], config: TextConfig) -> Parts:
    """Choose what is trained on and what is held out, by whole documents.

    Held out are the documents of ``validation`` if there are any. Else the documents of ``corpora``, in their order,
    are split into ``validation_blocks`` stretches of as many tokens, and of each the documents in the last
    ``validation_share`` are held out: neighbours, which are often of one topic, mostly stay together. A document to
    be held out whose text is equal to one that is trained on is left out.

    Raises
    ------
    DataError
        If nothing is left to train on or to hold out.
    """
    everything = [*corpora, *validation]
    if validation:
        held = [np.full(len(corpus), corpus in validation) for corpus in everything]
    else:
        held = _blocks(corpora, config)
    training = TokenStream(everything, [~keep for keep in held])
    known = _known(everything, held)
    fresh = [keep & ~np.isin(corpus.hashes, known) for corpus, keep in zip(everything, held, strict=True)]
    held_out = TokenStream(everything, fresh)
    duplicates = sum(int(keep.sum()) for keep in held) - held_out.num_documents
    names = ", ".join(config.paths)
    if not training.num_documents:
        raise DataError(f"{names}: no document is left to train on: there are {len(held[0])}, all held out")
    if not held_out.num_documents:
        raise DataError(
            f"{names}: no document is left to hold out: there are {sum(map(len, held))}, {duplicates} of those to be "
            "held out are also trained on; name files in --data.validation, or split finer with --data.split"
        )
    return Parts(training, held_out, duplicates)


def _blocks(corpora: Sequence[Corpus], config: TextConfig) -> list[Bool[np.ndarray, " _"]]:
    total, done, held = sum(corpus.index.num_tokens for corpus in corpora), 0, []
    for corpus in corpora:
        middle = done + (corpus.starts[:-1] + corpus.starts[1:]) / 2
        position = middle * config.validation_blocks / total % 1  # within its stretch, in [0, 1)
        held.append(position >= 1 - config.validation_share)
        done += corpus.index.num_tokens
    if not any(keep.any() for keep in held):  # a few long documents may all have their middle elsewhere
        held[-1][-1] = True
    return held


def _known(corpora: Sequence[Corpus], held: Sequence[Bool[np.ndarray, " _"]]) -> np.ndarray:
    """Return the hashes of held-out documents that are also trained on; only those held out are in memory."""
    wanted = np.unique(np.concatenate([corpus.hashes[keep] for corpus, keep in zip(corpora, held, strict=True)]))
    seen = np.zeros(len(wanted), bool)
    for corpus, keep in zip(corpora, held, strict=True):
        for first in range(0, len(corpus), 1 << 20):  # by parts, to bound memory
            rows = slice(first, first + (1 << 20))
            hashes = corpus.hashes[rows][~keep[rows]]
            at = np.searchsorted(wanted, hashes).clip(max=max(len(wanted) - 1, 0))
            if len(wanted):
                seen[at[wanted[at] == hashes]] = True
    return wanted[seen]


def batch_of(pieces: Sequence[StreamPiece], sample_ids: np.ndarray, vocabulary: Vocabulary, window: int) -> Batch:
    """Put each piece into a row of ``window`` tokens, padded at its end."""
    shape = (len(pieces), window)
    tokens = np.full(shape, vocabulary.pad_id, np.int32)
    documents = np.full(shape, -1, np.int32)
    units = np.zeros(shape, np.float32)
    for row, piece in enumerate(pieces):
        count = len(piece.tokens)
        tokens[row, :count] = piece.tokens
        documents[row, :count] = piece.documents - piece.documents[0] if count else 0
        units[row, :count] = 1 if piece.sizes is None else piece.sizes
    maskable, parts = vocabulary.is_real(tokens), {"units": units, "documents": documents}
    return Batch.of_arrays(tokens=tokens, maskable=maskable, sample_ids=sample_ids, **parts)


class _Rows(ABC):
    def __init__(self, stream: TokenStream, vocabulary: Vocabulary, window: int, *, pack: bool) -> None:
        self.stream, self.vocabulary, self.window, self.pack = stream, vocabulary, window, pack

    @abstractmethod
    def spans(self, sample_ids: Int[np.ndarray, " B"]) -> Int[np.ndarray, "B 2"]:
        """Return the first token of each row in the stream, and the number of its tokens."""

    def batch(self, sample_ids: Int[np.ndarray, " B"]) -> Batch:
        """Return the rows of these samples."""
        pieces = [self.stream.read(start, count) for start, count in self.spans(sample_ids).tolist()]
        return batch_of(pieces, sample_ids, self.vocabulary, self.window)


class DrawnRows(_Rows):
    """Rows drawn at random: sample i is a function of the seed and i.

    Packed, a row starts at a token drawn uniformly from the stream of all training documents, and takes what follows:
    documents are cut where a row starts and ends, and there is no padding. Not packed, a token is drawn, and the row
    is its document; of a document longer than a row, the part of that length which has the token.
    """

    def __init__(self, stream: TokenStream, vocabulary: Vocabulary, window: int, *, pack: bool, seed: int) -> None:
        super().__init__(stream, vocabulary, window, pack=pack)
        self.seed = seed

    def spans(self, sample_ids: Int[np.ndarray, " B"]) -> Int[np.ndarray, "B 2"]:
        """Draw a start for each sample."""
        words = draw(self.seed, Stream.WINDOW, sample_ids)
        room = self.stream.num_tokens - (self.window - 1 if self.pack else 0)  # a packed row must not pass the end
        start = (unit(words[0], words[1]) * room).astype(np.int64)
        if self.pack:
            return np.column_stack([start, np.full_like(start, self.window)])
        rows = np.empty((len(start), 2), np.int64)
        for row, at in enumerate(start.tolist()):
            first, end = self.stream.document_at(at)
            first += (at - first) // self.window * self.window
            rows[row] = first, min(end - first, self.window)
        return rows


class TiledRows(_Rows):
    """Rows that tile the stream (packed) or each of its documents (not packed), each token once."""

    def __init__(self, stream: TokenStream, vocabulary: Vocabulary, window: int, *, pack: bool) -> None:
        super().__init__(stream, vocabulary, window, pack=pack)
        lengths = np.array([stream.num_tokens]) if pack else stream.lengths()
        self._ends, self._rows = np.cumsum(lengths), np.cumsum(-(-lengths // window))

    def __len__(self) -> int:
        """Count the rows."""
        return int(self._rows[-1])

    def spans(self, sample_ids: Int[np.ndarray, " B"]) -> Int[np.ndarray, "B 2"]:
        """Return the first token of each row and the number of its tokens."""
        part = np.searchsorted(self._rows, sample_ids, side="right")
        begin = np.append(0, self._ends)[part]
        start = begin + (sample_ids - np.append(0, self._rows)[part]) * self.window
        return np.column_stack([start, np.minimum(self._ends[part] - start, self.window)])


class TextRows:
    """Texts to embed, one per row, in their order; a text longer than ``window`` tokens is cut to its beginning.

    The row of a text without a token is all padding.
    """

    def __init__(self, texts: Sequence[str], tokenizer: Tokenizer, window: int) -> None:
        self.window, self.vocabulary = window, tokenizer.vocabulary
        self._encoded = tokenizer.encode(list(texts))
        self.num_cut = sum(len(encoded.ids) > window for encoded in self._encoded)

    def __len__(self) -> int:
        """Count the texts."""
        return len(self._encoded)

    def token_ids(self) -> list[Int[np.ndarray, " _"]]:
        """Return the tokens of each text, those left out of its row too."""
        return [encoded.ids for encoded in self._encoded]

    def batch(self, sample_ids: Int[np.ndarray, " B"]) -> Batch:
        """Return the rows of these texts."""
        cut = [[part[: self.window] for part in self._encoded[i]] for i in sample_ids.tolist()]
        pieces = [StreamPiece(ids, sizes, np.zeros(len(ids), np.int64)) for ids, sizes in cut]
        return batch_of(pieces, sample_ids, self.vocabulary, self.window)
