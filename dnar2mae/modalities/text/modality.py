"""Text: documents as bytes or tokens of a ``tokenizer.json``, packed into rows, with Markov models as the yardstick."""

import math
import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from dnar2mae.batch import Layout
from dnar2mae.config import PretrainConfig, TokenizerConfig
from dnar2mae.errors import ConfigError
from dnar2mae.modalities.contract import Modality
from dnar2mae.modalities.text.config import TextConfig
from dnar2mae.modalities.text.corpus import Corpus, Tokenizer
from dnar2mae.modalities.text.readers import texts
from dnar2mae.modalities.text.stream import DrawnRows, Parts, TextRows, TiledRows, divide
from dnar2mae.modalities.text.yardstick import markov_bits
from dnar2mae.models.embedder import TokenEmbedder
from dnar2mae.models.head import TokenHead
from dnar2mae.storage.fingerprint import of_cache, of_values
from dnar2mae.tokenizers import ByteTokenizer, FileTokenizer
from dnar2mae.tokenizers.file import saved_or_named

_LONGEST = 3  # tokens of an n-gram among the raw features


class TextModality(Modality):
    """Documents as rows of tokens.

    ``data``, ``tokenizer`` and ``seed`` of the configuration are used; the ``tokenizer.json`` of the run directory
    ``saved`` replaces the file of ``--tokenizer.file``.

    Raises
    ------
    ConfigError
        If the tokenizer is for DNA only, or its file cannot be used.
    """

    unit = "bits per byte"
    unit_size = math.log(2)

    def __init__(self, config: PretrainConfig[TextConfig], saved: Path | None = None) -> None:
        self.config = config
        self.tokenizer = tokenizer_of(config.tokenizer, saved)
        self.vocabulary = self.tokenizer.vocabulary
        window, pack = config.data.window_tokens, config.data.pack
        self.layout = Layout(axes=(window,), tokens=window, aligned=False, packed=pack)

    @cached_property
    def _corpora(self) -> tuple[Corpus, ...]:
        data = self.config.data
        if not data.paths:
            raise ConfigError("no text given: name at least one file or folder")
        return tuple(Corpus.open(Path(path), data, self.tokenizer) for path in (*data.paths, *data.validation))

    @cached_property
    def _parts(self) -> Parts:
        data = self.config.data
        parts = divide(self._corpora[: len(data.paths)], self._corpora[len(data.paths) :], data)
        if parts.training.num_tokens < data.window_tokens:
            raise ConfigError(
                f"--data.window-tokens must be at most the {parts.training.num_tokens} tokens of the training "
                f"documents, got {data.window_tokens}"
            )
        return parts

    @cached_property
    def train(self) -> DrawnRows:  # type: ignore[override]
        """Rows drawn at random.

        Raises
        ------
        ConfigError, DataError
            If no file is named, one cannot be used, or nothing is left to train on.
        """
        data = self.config.data
        return DrawnRows(
            self._parts.training, self.vocabulary, data.window_tokens, pack=data.pack, seed=self.config.seed
        )

    @cached_property
    def validation(self) -> TiledRows:  # type: ignore[override]
        """Rows that tile the held-out documents.

        Raises
        ------
        ConfigError, DataError
            As for :attr:`train`.
        """
        data = self.config.data
        return TiledRows(self._parts.held_out, self.vocabulary, data.window_tokens, pack=data.pack)

    def embedder(self) -> TokenEmbedder:
        """Build the table of token vectors."""
        return TokenEmbedder(self.vocabulary, self.config.model.width)

    def head(self) -> TokenHead:
        """Build the output, which is tied to that table."""
        return TokenHead(self.vocabulary, self.config.model.width)

    def report(self) -> dict[str, Any]:
        """Return the numbers of files, documents and tokens, and of documents left out."""
        parts, data = self._parts, self.config.data
        corpora = {
            path: {
                "files": len(corpus.index.files),
                "documents": corpus.index.num_documents,
                "empty_documents_left_out": corpus.index.empty,
                "tokens": corpus.index.num_tokens,
                "bytes": corpus.index.num_bytes,
            }
            for path, corpus in zip((*data.paths, *data.validation), self._corpora, strict=True)
        }
        return {
            "text": corpora,
            "training": {"documents": parts.training.num_documents, "tokens": parts.training.num_tokens},
            "held_out": {
                "documents": parts.held_out.num_documents,
                "tokens": parts.held_out.num_tokens,
                "left_out_as_trained_on": parts.duplicates,
            },
            "tokens_added_to_the_tokenizer": list(self.tokenizer.added),
        }

    def fingerprint(self) -> str:
        """Return a digest of the tokens of all documents."""
        return of_values([of_cache(corpus.folder) for corpus in self._corpora])

    def yardstick(self) -> dict[str, float]:
        """Return the held-out bits per byte of Markov models over the same tokens, fitted on the training documents."""
        bits = markov_bits(self._parts.training, self._parts.held_out, self.vocabulary)
        return {f"token Markov order {i}" if i else "token unigram": value for i, value in enumerate(bits)}

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json``, if one is used."""
        if isinstance(self.tokenizer, FileTokenizer):
            self.tokenizer.save(folder)

    def tokens_of(self, text: str) -> Int[np.ndarray, " T"]:
        """Return the token ids of a text."""
        return self.tokenizer.encode([text])[0].ids

    def text_of(self, ids: Int[np.ndarray, " T"]) -> str:
        """Return the text of tokens."""
        return self.tokenizer.decode(ids)

    def read(self, path: Path) -> TextRows:
        """Return the lines of a text file, or the records of a .csv, .tsv or .jsonl file, as rows in their order.

        Raises
        ------
        DataError
            If the file cannot be used.

        Warns
        -----
        UserWarning
            If a text is longer than a row: its end is left out.
        """
        data = self.config.data
        rows = TextRows(texts(Path(path), data.field), self.tokenizer, data.window_tokens)
        if rows.num_cut:
            warnings.warn(
                f"{path}: {rows.num_cut} of {len(rows)} texts are longer than --data.window-tokens "
                f"({data.window_tokens}); their ends are left out",
                stacklevel=2,
            )
        return rows

    def raw_features(self, source: TextRows) -> dict[str, Any]:  # type: ignore[override]
        """Return the n-grams of one to three tokens, as TF-IDF with logarithmic counts."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(analyzer=_ngrams, sublinear_tf=True)
        return {f"n-grams of 1 to {_LONGEST} tokens": vectorizer.fit_transform(source.token_ids())}


def _ngrams(ids: Int[np.ndarray, " T"]) -> list[bytes]:
    """Return all n-grams of tokens."""
    return [ids[start : start + n].tobytes() for n in range(1, _LONGEST + 1) for start in range(len(ids) - n + 1)]


def tokenizer_of(config: TokenizerConfig, saved: Path | None) -> Tokenizer:
    """Build the tokenizer that a configuration names.

    Raises
    ------
    ConfigError
        If it is a tokenizer of k-mers, or the file cannot be used.
    """
    if config.k > 1 or config.stride is not None:
        raise ConfigError(
            "--tokenizer.k and --tokenizer.stride are for DNA: text is read as bytes or by --tokenizer.file"
        )
    return ByteTokenizer() if config.file is None else saved_or_named(config.file, saved)
