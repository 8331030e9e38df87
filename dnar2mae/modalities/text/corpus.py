"""The cache of a corpus: its documents' tokens, memory-mapped, built in one pass and again when a file changes."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import BufferedWriter
from pathlib import Path

import numpy as np

from dnar2mae.errors import DataError
from dnar2mae.modalities.text.config import TextConfig
from dnar2mae.modalities.text.readers import documents, source_files
from dnar2mae.storage.cache import CacheIndex, cached_folder, default_cache, needing_room, sync
from dnar2mae.storage.progress import progress_bar
from dnar2mae.storage.remote import local_path
from dnar2mae.tokenizers import ByteTokenizer, FileTokenizer

FORMAT = 1
"""Version of the cache's layout."""

_BATCH_CHARS = 1 << 20  # tokenized at once
_MOST = 65_535  # sizes are 16 bits; a longer token counts as this long, which never lowers the loss per byte

Tokenizer = ByteTokenizer | FileTokenizer


@dataclass
class CorpusIndex(CacheIndex):
    """The content of ``index.json``: the files at the time of reading, and the counts of what they held."""

    files: list[list]
    """Path, size and modification time (ns) of each."""
    format: int = FORMAT
    num_documents: int = 0
    num_tokens: int = 0
    num_bytes: int = 0
    """UTF-8 bytes of the documents."""
    empty: int = 0
    """Documents left out because they have no token or white space only."""
    dtypes: dict[str, str] = field(default_factory=dict)
    """Number type of each array file."""

    @classmethod
    def of(cls, files: list[Path]) -> "CorpusIndex":
        """Return the index of files that were not read yet."""
        states = [(file.absolute(), file.stat()) for file in files]
        return cls(files=[[str(path), state.st_size, state.st_mtime_ns] for path, state in states])


class Corpus:
    """Tokens of the documents of one path, opened with :meth:`open`.

    Attributes
    ----------
    tokens : uint16 or uint32 [N]
        Token ids of all documents, end to end.
    sizes : uint16 [N] or None
        Bytes that each token stands for; None where it is one each.
    starts : int64 [D + 1]
        First token of each document, and the number of tokens.
    hashes : uint64 [D]
        Hash of each document's text.
    """

    def __init__(self, folder: Path, index: CorpusIndex) -> None:
        self.folder, self.index = folder, index
        arrays = {name: np.memmap(folder / f"{name}.bin", kind, "r") for name, kind in index.dtypes.items()}
        self.tokens, self.starts, self.hashes = arrays["tokens"], arrays["starts"], arrays["hashes"]
        self.sizes = arrays.get("sizes")

    @classmethod
    def open(cls, path: Path, config: TextConfig, tokenizer: Tokenizer) -> "Corpus":
        """Open the documents of a file or folder: read and tokenized once, memory-mapped from then on.

        Raises
        ------
        DataError
            If a file is missing or not valid, there is no document, or the cache cannot be written.
        """
        path = local_path(path)
        files = source_files(path)
        now = CorpusIndex.of(files)
        rules = [str(path.absolute()), config.field, config.split, config.start, tokenizer.fingerprint]
        key = hashlib.sha256(json.dumps(rules).encode()).hexdigest()[:16]
        folder = default_cache() / "text" / f"{path.name}-{key}"

        def load(folder: Path) -> CorpusIndex | None:
            index = CorpusIndex.load(folder)
            return index if index is not None and index.files == now.files else None

        with needing_room(folder, path, "two to eight bytes a token", DataError):
            index = cached_folder(folder, load, lambda to: _CorpusPass(path, config, tokenizer, now).run(to))
            return cls(folder, index)

    def __reduce__(self) -> tuple:
        """Pickle as a reference to the cache: a worker process maps the same files."""
        return _reopen, (self.folder, self.index)

    def __len__(self) -> int:
        """Count the documents."""
        return self.index.num_documents


def _reopen(folder: Path, index: CorpusIndex) -> Corpus:
    if CorpusIndex.load(folder) != index:
        raise DataError(f"{folder}: the cache was removed or rebuilt during the run; start again")
    return Corpus(folder, index)


class _CorpusPass:
    """One pass over the files of a path, which tokenizes and writes."""

    def __init__(self, path: Path, config: TextConfig, tokenizer: Tokenizer, index: CorpusIndex) -> None:
        self.path, self.config, self.tokenizer, self.index = path, config, tokenizer, index
        small = tokenizer.vocabulary.size <= 1 << 16
        index.dtypes = {"tokens": "uint16" if small else "uint32", "starts": "int64", "hashes": "uint64"}
        if not isinstance(tokenizer, ByteTokenizer):
            index.dtypes["sizes"] = "uint16"

    def run(self, folder: Path) -> CorpusIndex:
        index, total = self.index, sum(size for _, size, _ in self.index.files)
        with ExitStack() as stack:
            files = {name: stack.enter_context((folder / f"{name}.bin").open("wb")) for name in index.dtypes}
            update = stack.enter_context(progress_bar(f"Tokenizing {self.path.name}", total, unit="B"))
            self._write(files, "starts", np.zeros(1))
            for batch in self._batches():
                self._add(batch, files)
                update(index.num_bytes)
            for file in files.values():
                sync(file)
        if not index.num_documents:
            raise DataError(f"{self.path}: no document is left: {self._why_empty()}")
        if CorpusIndex.of([Path(name) for name, _, _ in index.files]).files != index.files:
            raise DataError(f"{self.path}: a file changed while it was read; try again when it is complete")
        index.save(folder)
        return index

    def _why_empty(self) -> str:
        if sum(size for _, size, _ in self.index.files) == 0:
            return "the file is empty" if len(self.index.files) == 1 else "the files are empty"
        return f"{self.index.empty} read, all without a token"

    def _batches(self) -> Iterator[list[str]]:
        batch: list[str] = []
        num_chars = 0
        for name, _, _ in self.index.files:
            for text in documents(Path(name), self.config):
                if not text.strip():
                    self.index.empty += 1
                    continue
                batch.append(text)
                num_chars += len(text)
                if num_chars >= _BATCH_CHARS:
                    yield batch
                    batch, num_chars = [], 0
        yield batch

    def _add(self, batch: list[str], files: dict[str, BufferedWriter]) -> None:
        index = self.index
        for text, encoded in zip(batch, self.tokenizer.encode(batch), strict=True):
            if not len(encoded.ids):
                index.empty += 1
                continue
            index.num_documents += 1
            index.num_tokens += len(encoded.ids)
            index.num_bytes += int(encoded.sizes.sum())
            self._write(files, "tokens", encoded.ids)
            self._write(files, "starts", np.array([index.num_tokens]))
            digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
            self._write(files, "hashes", np.frombuffer(digest, np.uint64))
            if "sizes" in files:
                self._write(files, "sizes", np.minimum(encoded.sizes, _MOST))

    def _write(self, files: dict[str, BufferedWriter], name: str, values: np.ndarray) -> None:
        files[name].write(values.astype(self.index.dtypes[name]).tobytes())
