"""Any ``tokenizer.json``: BPE, WordPiece, Unigram, read by the ``tokenizers`` package."""

import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, Integer

from dnar2mae.errors import ConfigError, raising
from dnar2mae.storage.remote import local_path
from dnar2mae.storage.safe_files import write_whole
from dnar2mae.tokenizers.vocabulary import Encoded, Vocabulary

FILE_NAME = "tokenizer.json"
MAX_ID = 2**24 - 1
"""Largest token id that a file may use: tables of ids are this long at most."""

_ROLES = {
    "[PAD]": ("[PAD]", "<pad>", "<PAD>", "<|pad|>", "<|padding|>"),
    "[MASK]": ("[MASK]", "<mask>", "<MASK>", "<|mask|>"),
    "[UNK]": ("[UNK]", "<unk>", "<UNK>", "<|unk|>"),
}
# before the letters of a word piece, a Metaspace and a byte-level token
_MARKS = ("##", "▁", "Ġ")


class FileTokenizer:
    """A tokenizer read from the ``content`` of a ``tokenizer.json``; ``name`` is that of the file, for messages.

    The model wants its real tokens in one range of ids, so ids are numbered anew: [PAD], [MASK] and [UNK], the other
    special tokens, then the real ones, each in the order of the file. The numbering is a function of the file, which
    a run directory keeps. Special tokens that the file marks as such, or that have one of the usual names, are never
    masked, predicted or drawn as replacements. What is missing of the first three is added. With ``letters``, such as
    ``"ACGT"``, real tokens are those made of these alone and others count as special.

    Raises
    ------
    ConfigError
        If it is no ``tokenizer.json``, has too large an id, or no real token.

    Warns
    -----
    UserWarning
        If it has no [MASK].
    """

    def __init__(self, content: str, name: str = FILE_NAME, letters: str | None = None) -> None:
        self.name, self.letters = name, letters
        self._tokenizer, unknown = _parse(content, name)
        # a file may ask to cut and pad texts, which must become tokens whole
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        roles = {role: next((n for n in names if n in vocabulary), role) for role, names in _ROLES.items()}
        if unknown is not None:
            roles["[UNK]"] = unknown
        self.added = tuple(name for name in roles.values() if name not in vocabulary)
        if "[MASK]" in self.added:
            warnings.warn(f"{name}: the tokenizer has no [MASK] token; one is added", stacklevel=2)
        self._tokenizer.add_special_tokens(list(roles.values()))
        self._number(roles)
        self.content = self._tokenizer.to_str()
        self.fingerprint = hashlib.sha256(f"{letters}\n{self.content}".encode()).hexdigest()

    @classmethod
    def open(cls, path: str | Path, letters: str | None = None) -> "FileTokenizer":
        """Read a file.

        Raises
        ------
        ConfigError
            If it cannot be read, and as for the class.
        """
        with raising(ConfigError, f"{path}: cannot read the tokenizer", OSError, UnicodeDecodeError):
            content = local_path(path).read_text(encoding="utf-8")
        return cls(content, str(path), letters)

    def __reduce__(self) -> tuple:
        """Pickle as the file's text."""
        return type(self), (self.content, self.name, self.letters)

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json``, with what was added, into a folder."""
        write_whole(folder / FILE_NAME, self.content)

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Return the token ids of each text, without special tokens around it."""
        encodings = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        return [self._encoded(text, encoding) for text, encoding in zip(texts, encodings, strict=True)]

    def decode(self, ids: Integer[np.ndarray, " T"]) -> str:
        """Return the text of tokens, specials left out; of nucleotides without spaces, whatever the file's decoder."""
        ids = np.asarray(ids)
        if self.letters:
            names = [self._tokenizer.id_to_token(int(self._file_id[i])) for i in ids[self.vocabulary.is_real(ids)]]
            return "".join(map(_bare, names))
        return self._tokenizer.decode([int(self._file_id[i]) for i in ids], skip_special_tokens=True)

    def tokens(self) -> list[str]:
        """Return every token's text, in the order of the ids."""
        named = [self._tokenizer.id_to_token(int(i)) for i in self._file_id]
        return [*named, *(f"[unused{i}]" for i in range(self.vocabulary.size - len(named)))]

    def _number(self, roles: dict[str, str]) -> None:
        """Number the tokens anew: ``_new_id[file's id]`` and its inverse ``_file_id``."""
        by_id = sorted((i, text) for text, i in self._tokenizer.get_vocab(with_added_tokens=True).items())
        if by_id[-1][0] > MAX_ID:
            raise ConfigError(f"{self.name}: token ids must be at most {MAX_ID}, got {by_id[-1][0]}")
        if len({i for i, _ in by_id}) < len(by_id):
            raise ConfigError(
                f"{self.name}: token ids must run from 0 without gaps where a special token is to be added"
            )
        marked = {i for i, token in self._tokenizer.get_added_tokens_decoder().items() if token.special}
        first = [self._tokenizer.token_to_id(roles[role]) for role in _ROLES]
        special = [i for i, text in by_id if i not in first and (i in marked or not self._is_real(text))]
        rank = {i: n for n, i in enumerate([*first, *special])}
        real = [i for i, _ in by_id if i not in rank]
        if not real:
            what = f"made of {', '.join(self.letters)}" if self.letters else "that is not special"
            raise ConfigError(f"{self.name}: the tokenizer must have a token {what}, got none among {len(by_id)}")
        self._file_id = np.array([*rank, *real], np.int64)
        # an id that the file leaves out is [UNK]
        self._new_id = np.full(by_id[-1][0] + 1, 2, np.int32)
        self._new_id[self._file_id] = np.arange(len(self._file_id))
        self.vocabulary = Vocabulary(
            size=-(-len(by_id) // 8) * 8, pad_id=0, mask_id=1, unk_id=2, first_real=len(rank), num_real=len(real)
        )

    def _is_real(self, text: str) -> bool:
        if self.letters is None:
            return True
        return bool(_bare(text)) and set(_bare(text)) <= set(self.letters)

    def _encoded(self, text: str, encoding: Any) -> Encoded:
        ids = self._new_id[np.array(encoding.ids, np.int64)]
        ends = np.array(encoding.offsets, np.int64).reshape(-1, 2)[:, 1]
        # an end may not lie before an earlier one: no token has a negative size
        ends = _bytes_before(text)[np.maximum.accumulate(ends)] if len(ends) else ends
        if len(ends):
            # what the tokenizer drops at the end of the text counts with the last token
            ends[-1] = len(text.encode())
        return Encoded(ids, np.diff(ends, prepend=0))


def _bare(text: str) -> str:
    """Return a token's text without the mark that says where in a word it stands."""
    for mark in _MARKS:
        text = text.removeprefix(mark)
    return text


def _parse(content: str, name: str) -> tuple[Any, str | None]:
    """Build the tokenizer and find the name of its unknown token."""
    from tokenizers import Tokenizer

    # the package raises plain exceptions
    with raising(ConfigError, f"{name}: not a tokenizer.json of the tokenizers package", Exception):
        tokenizer = Tokenizer.from_str(content)
        model = json.loads(content)["model"]
    if model.get("unk_id") is not None:
        return tokenizer, model["vocab"][model["unk_id"]][0]
    return tokenizer, model.get("unk_token")


def _bytes_before(text: str) -> Int64[np.ndarray, " N"]:
    """Return the UTF-8 bytes before each character, and in all."""
    if text.isascii():
        return np.arange(len(text) + 1)
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    sizes = 1 + (points >= 0x80) + (points >= 0x800) + (points >= 0x10000)
    return np.append(0, np.cumsum(sizes))


def saved_or_named(file: str, saved: Path | None, letters: str | None = None) -> FileTokenizer:
    """Open the tokenizer that a trained run keeps or, for a new run, the file that it names.

    Raises
    ------
    ConfigError
        See :class:`FileTokenizer`.
    """
    return FileTokenizer.open(file if saved is None else saved / FILE_NAME, letters)
