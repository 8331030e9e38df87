"""Files at an address such as ``https://``: downloaded into the cache once, in pieces, so that a cut does no harm."""

import hashlib
import json
import re
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from dnar2mae.errors import DataError, needing, reason
from dnar2mae.storage.cache import CacheIndex, cached_folder, default_cache, needing_room
from dnar2mae.storage.progress import progress_bar
from dnar2mae.storage.safe_files import sha256

# pathlib turns the two slashes of an address into one
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}(?=[^/])")
_CHECKSUM = re.compile(r"#sha256=([0-9a-fA-F]*)$")
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
# what servers and buckets say of a file's version, in lower case
_VERSIONS = ("etag", "last-modified", "lastmodified", "md5hash", "content-md5", "generation")
# a piece is a request: large enough that the wait for its first byte does not count
_PIECE_BYTES, _LEAST_PIECE_BYTES = 32 << 20, 64 << 10
_TRIES = 5
_WAIT_S = 1.0


@dataclass
class DownloadIndex(CacheIndex):
    """The content of ``index.json``: where a file came from, what the server said of it, and its checksum."""

    url: str
    sha256: str
    state: dict[str, str]
    """Size and version as the server names them (ETag, time of modification)."""
    date: str = field(default_factory=lambda: time.strftime("%Y-%m-%d"))
    format: int = 1


def is_remote(path: str | Path) -> bool:
    """Return whether a path is an address of another machine."""
    return _ADDRESS.match(str(path)) is not None


def file_name(path: str | Path) -> str:
    """Return the name of a file, also of one at an address, by whose suffix its format is known."""
    if not is_remote(path):
        return Path(path).name
    return unquote(re.split(r"[?#]", str(path))[0].rstrip("/").rpartition("/")[2]) or "file"


def local_path(path: str | Path) -> Path:
    """Return where to read a file on this machine; every path of an input passes through here.

    Parameters
    ----------
    path
        A path, which is returned as it is; or an address that fsspec knows (``https://``, ``s3://``, ``gs://``, ...),
        whose file is downloaded into the cache. There it stays until the server names another version. With
        ``#sha256=...`` at its end, the file must have this checksum, and a copy that has it is used without asking the
        server.

    Raises
    ------
    DataError
        There is no such file, it cannot be reached, changed meanwhile, or has another checksum; a package is missing.
    RunError
        Another user may have made or changed the cache.

    Warns
    -----
    UserWarning
        The server cannot be reached or names no version, and the copy of an earlier download is used.
    """
    address = _ADDRESS.match(str(path))
    if address is None:
        return Path(path)
    url = f"{address[1]}://{str(path)[address.end() :]}"
    checksum = _CHECKSUM.search(url)
    if checksum is None:
        return _downloaded(_RemoteFile(url, address[1]), None)
    if len(checksum[1]) != 64:
        raise DataError(f"{url}: a checksum has 64 hexadecimal digits, got {len(checksum[1])}")
    return _downloaded(_RemoteFile(url[: checksum.start()], address[1]), checksum[1].lower())


class _RemoteFile:
    """A file of another machine, whose state is asked for once."""

    def __init__(self, url: str, scheme: str) -> None:
        self.url, self.scheme = url, scheme
        self.name = file_name(url)

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """Errors of a connection that is cut."""
        return self._opened[2]

    @cached_property
    def _opened(self) -> tuple[Any, str, tuple[type[Exception], ...]]:
        """The file system of fsspec, the path in it, and the errors of a connection."""
        with needing(self.url, "fsspec", "dnar2mae[remote]", DataError):
            import fsspec
            from aiohttp import ClientError, ClientTimeout
        options: dict[str, Any] = {}
        if self.scheme in ("http", "https"):
            # the file's own bytes, where a server would unpack .gz; proxies of the environment; no limit on the whole
            timeout = ClientTimeout(total=None, sock_connect=30, sock_read=60)
            client = {"auto_decompress": False, "trust_env": True, "timeout": timeout}
            options = {"client_kwargs": client, "headers": {"Accept-Encoding": "identity"}}
        package = _PACKAGES.get(self.scheme, f"for {self.scheme}://")
        with needing(self.url, package, package, DataError):
            try:
                system, path = fsspec.core.url_to_fs(self.url, **options)
            except ValueError as error:
                raise DataError(f"{self.url}: {reason(error)}") from error
        return system, path, (OSError, EOFError, TimeoutError, ClientError)

    @cached_property
    def state(self) -> dict[str, str]:
        """Size and version as the server names them."""
        return self.ask()

    @property
    def size(self) -> int | None:
        """Size in bytes; None where the server does not name it."""
        return int(self.state["size"]) if "size" in self.state else None

    def ask(self) -> dict[str, str]:
        """Ask for the state anew.

        Raises
        ------
        DataError
            There is no such file, or it cannot be reached.
        """
        system, path, _ = self._opened
        try:
            system.invalidate_cache()
            info = system.info(path)
        except self.errors as error:
            raise DataError(f"{self.url}: {_why(error)}") from error
        if info.get("type") == "directory":
            raise DataError(f"{self.url}: is a folder; name a file")
        said = {name.lower(): str(value) for name, value in info.items() if value is not None}
        return {name: said[name] for name in ("size", *_VERSIONS) if name in said}

    def pieces(self, start: int, piece_bytes: int) -> Iterator[bytes]:
        """Yield the content from a byte on; ``piece_bytes`` of 0 asks for all of it at once, from the first byte."""
        system, path, _ = self._opened
        with system.open(path, "rb", block_size=piece_bytes, cache_type="none") as file:
            if start:
                file.seek(start)
            while piece := file.read(piece_bytes or 1 << 20):
                yield piece


def _downloaded(source: _RemoteFile, expected: str | None) -> Path:
    key = hashlib.sha256(source.url.encode()).hexdigest()[:16]
    # a folder for each address: two files are downloaded at the same time, one file by one process
    place = default_cache() / "downloads" / f"{source.name[-100:]}-{key}"
    folder = place / "content"

    def load(folder: Path) -> DownloadIndex | None:
        index = DownloadIndex.load(folder)
        if index is None or expected is not None:
            return index if index is not None and index.sha256 == expected else None
        return index if _is_current(source, index) else None

    with needing_room(folder, Path(source.name), f"{source.url}", DataError):
        cached_folder(folder, load, lambda scratch: _download(source, expected, place / "partial", scratch))
    return folder / source.name


def _is_current(source: _RemoteFile, index: DownloadIndex) -> bool:
    try:
        is_same = source.state == index.state
    except DataError as error:
        warnings.warn(f"{error}; using the copy of {index.date}", stacklevel=7)
        source.state = index.state  # not to ask, and warn, again
        return True
    if is_same and not source.state.keys() - {"size"}:
        pin = f"#sha256={index.sha256}"
        warnings.warn(
            f"{source.url}: the server names no version; using the copy of {index.date}. Put {pin} behind the address "
            "to pin it, or remove the copy to read it anew",
            stacklevel=7,
        )
    return is_same


def _download(source: _RemoteFile, expected: str | None, partial: Path, scratch: Path) -> DownloadIndex:
    with progress_bar(f"Downloading {source.name}", source.size, unit="B", at_once=True) as bar:
        _Transfer(source, partial).run(bar)
        digest = sha256(partial)
        bar.say(f"downloaded {source.url}: {partial.stat().st_size:,} bytes, sha256 {digest}")
    # else half of it could be of another version
    is_same = source.ask() == source.state
    if not is_same or expected not in (None, digest):
        partial.unlink()
        what = f"its sha256 must be {expected}, got {digest}" if is_same else "it changed meanwhile; start again"
        raise DataError(f"{source.url}: {what}")
    partial.rename(scratch / source.name)
    index = DownloadIndex(url=source.url, sha256=digest, state=source.state)
    index.save(scratch)
    return index


class _Transfer:
    """Appends to a partial file until it is complete; ``partial.json`` beside it says of which version it is."""

    def __init__(self, source: _RemoteFile, partial: Path) -> None:
        self.source, self.partial = source, partial
        self.piece_bytes = _PIECE_BYTES
        self.cuts = 0
        """Cuts since the last progress."""
        note = partial.with_suffix(".json")
        state = json.dumps(source.state)
        # a size alone does not tell two versions apart
        can_resume = len(source.state) > 1 and note.is_file() and note.read_text() == state
        if not can_resume:
            partial.unlink(missing_ok=True)
            note.write_text(state)

    def run(self, bar: Any) -> None:
        """Download what is missing.

        Raises
        ------
        DataError
            If the connection is cut again and again; what has come stays for the next time.
        """
        with self.partial.open("ab") as file:
            while self.source.size is None or file.tell() < self.source.size:
                try:
                    for piece in self.source.pieces(file.tell(), self.piece_bytes):
                        file.write(piece)
                        self.cuts = self.cuts if self.piece_bytes == 0 else 0
                        bar(file.tell())
                    if self.source.size is None or file.tell() == self.source.size:
                        return
                    raise EOFError("the server sent less than it had said")
                except self.source.errors as error:
                    self._cut(error, file.tell())
                # fsspec's word for a server that knows no ranges
                except ValueError:
                    self.piece_bytes = 0
                if self.piece_bytes == 0:
                    file.seek(0)
                    file.truncate()

    def _cut(self, error: Exception, done: int) -> None:
        """Wait before the next try, or give up."""
        self.cuts += 1
        if self.cuts >= _TRIES or isinstance(error, FileNotFoundError):
            size = f" of {self.source.size:,}" if self.source.size else ""
            why = _why(error) if isinstance(error, FileNotFoundError) else reason(error)
            raise DataError(
                f"{self.source.url}: cut off after {done:,}{size} bytes ({why}); the same command goes on"
            ) from error
        time.sleep(_WAIT_S * 2**self.cuts)
        self.piece_bytes = self.piece_bytes and max(self.piece_bytes // 4, _LEAST_PIECE_BYTES)


def _why(error: BaseException) -> str:
    """Return why a server gave no file; fsspec calls all that goes wrong a missing file, and keeps the cause."""
    cause = error.__cause__ or error
    status = getattr(cause, "status", None)
    if status in (404, 410) or (status is None and type(cause) is FileNotFoundError):
        return "no such file" + (f" ({status})" if status else "")
    if status in (401, 403):
        return f"access is not allowed ({status})"
    return f"cannot be reached ({status or reason(cause)})"
