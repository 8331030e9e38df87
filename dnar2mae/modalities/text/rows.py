"""Rows of tokens by index: drawn at random for training, tiling the held-out documents, or one per text."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from dnar2mae.batch import Batch
from dnar2mae.modalities.text.corpus import Tokenizer
from dnar2mae.modalities.text.stream import StreamPiece, TokenStream
from dnar2mae.random import Stream, draw, unit
from dnar2mae.tokenizers import Vocabulary


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
    """Texts to embed, one per row, in their order; a text longer than a row is cut to its beginning.

    Parameters
    ----------
    texts
        The texts; the row of one without a token is all padding.
    tokenizer
        The model's.
    window
        Tokens of a row.
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
