"""Caches of large files that are read once: moved into place whole, built by one process at a time."""

import errno
import json
import os
import platform
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedWriter, TextIOWrapper
from pathlib import Path
from typing import TypeVar

from dnar2mae.errors import Dnar2maeError, RunError, raising
from dnar2mae.storage.safe_files import CHECKSUMS, find_damage, flush, lock, untrusted_owner, write_checksums

Index = TypeVar("Index")
Loaded = TypeVar("Loaded", bound="CacheIndex")

# a build that has lasted this long is taken for one whose process was killed
_STALE_S = 24 * 3600


class CacheIndex:
    """Base of the dataclass that a cache's ``index.json`` holds; the default of ``format`` is the present format."""

    format: int

    @classmethod
    def load(cls: type[Loaded], folder: Path) -> Loaded | None:
        """Read the index of a cache; None where there is none, or of another format."""
        try:
            index = cls(**json.loads((folder / "index.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return index if index.format == cls.format else None

    def save(self, folder: Path) -> None:
        """Write the index of a cache."""
        with (folder / "index.json").open("w", encoding="utf-8") as file:
            json.dump(vars(self), file)
            sync(file)


def default_cache() -> Path:
    """Return the folder of all caches: ``$DNAR2MAE_CACHE``, else ``~/.cache/dnar2mae``."""
    return Path(os.environ.get("DNAR2MAE_CACHE") or "~/.cache/dnar2mae").expanduser()


def own_compile_cache() -> None:
    """Let ``torch.compile`` keep its cache, which holds pickles, in a folder that only this user can write to.

    torch's default has a predictable name under ``/tmp``, where another user could put pickles of theirs first.
    Precompiled headers would be written there whatever the setting, so they are turned off. A user's own
    ``TORCHINDUCTOR_CACHE_DIR`` is left as it is.

    Raises
    ------
    RunError
        If the folder cannot be made, or another user may have made or changed it.
    """
    from torch._inductor import config
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    # torch sets the variable to its default when it is imported: any other value is the user's
    if os.environ.get("TORCHINDUCTOR_CACHE_DIR") not in (None, default_cache_dir()):
        return
    folder = default_cache() / "compile" / "inductor"
    advice = "set DNAR2MAE_CACHE to a folder that you may write to"
    with raising(RunError, f"{folder}: cannot make the cache of --compile; {advice}", OSError):
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    _refuse_untrusted(folder)
    config.cpp_cache_precompile_headers = False
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder.absolute())


@contextmanager
def needing_room(folder: Path, source: Path, size: str, kind: type[Dnar2maeError]) -> Iterator[None]:
    """Turn errors of writing the cache of a source, which takes so much room (``size``), into one of ours."""
    try:
        yield
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "no space left for" if is_full else f"cannot write ({error.strerror or error})"
        raise kind(
            f"{folder.parent}: {what} the cache of {source} ({size}); "
            "set DNAR2MAE_CACHE to a folder with room that you may write to"
        ) from error


def cached_folder(folder: Path, load: Callable[[Path], Index | None], build: Callable[[Path], Index]) -> Index:
    """Return the index of a cache; build the cache where it is missing, stale or damaged (which a warning names).

    Parameters
    ----------
    folder
        The cache.
    load
        Reads the index of a cache; None where any part is missing, damaged, or not of the source in its present state.
    build
        Fills an empty folder and returns the index that ``load`` will read.

    Raises
    ------
    OSError
        If the cache cannot be written; nothing is left behind. Errors of ``build`` are passed on.
    RunError
        If another user may have made or changed the cache.
    """
    index = _usable(folder, load)
    if index is not None:
        return index
    # others must not be able to write here, whatever the umask: see untrusted_owner
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(folder.parent) as is_alone:
        # another process may have built it by now
        index = _usable(folder, load)
        if index is not None:
            return index
        _tidy(folder.parent, is_alone=is_alone)
        return _build(folder, load, build)


def _usable(folder: Path, load: Callable[[Path], Index | None]) -> Index | None:
    """Return the index of a cache if it is complete, undamaged, this user's and not older than its source."""
    if not folder.exists():
        return None
    _refuse_untrusted(folder)
    index = load(folder)
    if fault := find_damage(folder):
        warnings.warn(f"{folder}: damaged cache ({fault}); building it anew", stacklevel=5)
        return None
    return index


def _refuse_untrusted(folder: Path) -> None:
    if why := untrusted_owner(folder):
        raise RunError(f"{why}, so this cache is not used; set DNAR2MAE_CACHE to a folder of your own")


def sync(file: BufferedWriter | TextIOWrapper) -> None:
    """Put a file's content on the disk."""
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Let one process at a time build in this folder; yield whether that is so. The lock ends with the process.

    Where locks are unknown (Windows, some network file systems) several may build the same cache: each
    puts a whole one in place, and the last one stays.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield lock(handle, wait=True)
    finally:
        os.close(handle)


def _mark() -> str:
    """Return the part that marks the names of folders in which this machine builds."""
    return f".building-{platform.node()}-"


def _tidy(folder: Path, *, is_alone: bool) -> None:
    """Remove what killed processes left: of this machine at once, if its lock is held, of others after a day.

    A lock on a network file system may be unknown to other machines.
    """
    for left in folder.glob("*.building-*"):
        with suppress(FileNotFoundError):
            if is_alone and _mark() in left.name or time.time() - left.stat().st_mtime > _STALE_S:
                shutil.rmtree(left, ignore_errors=True)


def _build(folder: Path, load: Callable[[Path], Index | None], build: Callable[[Path], Index]) -> Index:
    scratch = Path(tempfile.mkdtemp(prefix=f"{folder.name}{_mark()}", dir=folder.parent))
    try:
        index = build(scratch)
        write_checksums(scratch)
        # whatever the umask: see untrusted_owner
        for file in scratch.iterdir():
            file.chmod(0o644)
        flush(scratch / CHECKSUMS)
        flush(scratch)
        _put_in_place(scratch, folder, lambda: load(folder) == index and not find_damage(folder))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return index


def _put_in_place(scratch: Path, folder: Path, is_done: Callable[[], bool]) -> None:
    """Move a finished cache to its name, replacing an older one; processes that map that one keep it."""
    old = scratch.with_name(scratch.name + "-old")
    # without locks, another process may put its own cache there between the removal and the next try
    for _ in range(10):
        try:
            os.rename(scratch, folder)
            flush(folder.parent)
            break
        except OSError as error:
            # the codes by which systems say that the name is taken
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EACCES, errno.ENOTDIR):
                raise
        # another process was first
        if is_done():
            break
        # another process may have moved it away first
        with suppress(FileNotFoundError):
            os.rename(folder, old)
        shutil.rmtree(old, ignore_errors=True)
    else:
        raise OSError(errno.EBUSY, "other processes keep replacing the cache")
