"""Files to rely on: written whole or not at all, checked against damage, and of this user.

``SHA256SUMS`` in a folder has the format of coreutils: ``sha256sum --check SHA256SUMS`` does the same there as
:func:`find_damage`. A damaged ``SHA256SUMS`` matches no file, so it shows too.
"""

import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dnar2mae.errors import ConfigError, raising

CHECKSUMS = "SHA256SUMS"


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that a reader finds the old text or the new one, even after the machine has stopped."""
    # nothing to write, so that a full disk does no harm
    if path.is_file() and not path.is_symlink() and path.read_bytes() == text.encode():
        return
    with written_whole(path) as partial, partial.open("x", encoding="utf-8") as file:
        file.write(text)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path to write a file to, which replaces ``path`` in the end and is removed if there was an error.

    A reader of ``path`` finds the old file or the new one, even after the machine has stopped. The path to write to
    has the same suffix, by which some writers choose their format. One process at a time may write a file.
    """
    partial = path.with_name(f".{path.name}.partial{path.suffix}")
    # of a process that was killed; never write through a link
    partial.unlink(missing_ok=True)
    try:
        yield partial
        # on disk before it gets its name: else a machine that stops may leave the name of an empty file
        flush(partial)
        partial.replace(path)
        flush(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def output_file(out: Path) -> Iterator[Path]:
    """Make the folder of a user's ``--out`` and yield where to write it: see :func:`written_whole`.

    Raises
    ------
    ConfigError
        If it cannot be written.
    """
    with raising(ConfigError, f"--out must be writable, got {out}", OSError):
        out.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(out) as partial:
            yield partial


def split_at_file(path: str | Path) -> tuple[str, str | None]:
    """Divide ``FILE:REST``, as regions of a file are written; the rest is None where the whole text names the file.

    A file whose name has a colon is a file: the longest part of the text that is one counts.
    """
    text = str(path)
    colons = [] if Path(text).exists() else [at for at, letter in enumerate(text) if letter == ":"]
    for colon in reversed(colons):
        if Path(text[:colon]).is_file():
            return text[:colon], text[colon + 1 :]
    return text, None


def refuse_inputs(outputs: Path | Iterable[Path], inputs: Iterable[str | Path | None], flag: str = "--out") -> None:
    """Refuse to write over what is read, by whatever path or link it is reached.

    Parameters
    ----------
    outputs
        Files that will be written, or folders that will be replaced whole: these must not hold an input either.
    inputs
        Files and folders that are read; None for one that was not given.
    flag
        The setting that names the output.

    Raises
    ------
    ConfigError
        If an output is an input.
    """
    for output in [outputs] if isinstance(outputs, Path) else outputs:
        for given in inputs:
            if given is None:
                continue
            path, target = Path(split_at_file(given)[0]).resolve(), output.resolve()
            # hard links have a path of their own
            if path.is_relative_to(target) or (path.exists() and target.exists() and path.samefile(target)):
                raise ConfigError(f"{flag} must not write over an input: {output} is {given} or holds it")


@contextmanager
def folder_written_whole(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill, which replaces ``folder`` in the end and is removed if there was an error."""
    folder = folder.absolute()
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        # of a process that was killed
        _clear_name(partial)
        partial.mkdir(parents=True)
        yield partial
        # the new folder's mode shows the umask, to which some writers (safetensors) pay no heed
        readable = partial.stat().st_mode & 0o666
        # bytes first, then the name: a power cut after the rename must not leave an incomplete folder
        for file in partial.rglob("*"):
            if file.is_file():
                file.chmod(readable)
            flush(file)
        flush(partial)
        old = _hide(folder)
        partial.rename(folder)
        flush(folder.parent)
        if old:
            remove(old)
    finally:
        remove(partial)


def remove_folder(folder: Path) -> None:
    """Remove a folder, all or nothing: what cannot be removed now is hidden."""
    if old := _hide(folder):
        remove(old)


def remove(path: Path) -> None:
    """Remove a folder, or the link or file of that name, as far as that is possible now."""
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):  # a link or a file
        path.unlink()


def _hide(folder: Path) -> Path | None:
    """Rename a folder to a hidden name, which is atomic, and return the new path; None where there is none.

    Removing a folder is not atomic: a process killed while it does would leave half of one under a visible name.
    """
    old = folder.with_name(f".{folder.name}.old")
    _clear_name(old)
    with suppress(FileNotFoundError):
        return folder.rename(old)
    return None


def _clear_name(path: Path) -> None:
    """Remove what has this name, or rename it where it cannot be removed now (NFS keeps open files)."""
    remove(path)
    if os.path.lexists(path):
        path.rename(path.with_name(f".{secrets.token_hex(4)}.partial"))


def flush(path: Path) -> None:
    """Wait until a file or a folder's entries are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lock(handle: int, *, wait: bool) -> bool:
    """Lock an open file or folder until its handle is closed; return False where the system has no such locks.

    Windows and some network file systems have none.

    Parameters
    ----------
    handle
        File descriptor.
    wait
        Wait for the process that holds the lock.

    Raises
    ------
    BlockingIOError
        If another process holds the lock, without ``wait``.
    """
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    # it is an OSError, too, but one that says that the lock works
    except BlockingIOError:
        raise
    except (ImportError, OSError):
        return False
    return True


@contextmanager
def locked(path: Path, busy: Exception) -> Iterator[None]:
    """Lock a file or folder against other processes; the system ends that however this process ends.

    Parameters
    ----------
    path
        It exists.
    busy
        What to raise if another process holds the lock.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            lock(handle, wait=False)
        except BlockingIOError as error:
            raise busy from error
        yield
    finally:
        os.close(handle)


def write_checksums(folder: Path) -> None:
    """Write the checksums of all files of a folder."""
    lines = [f"{sha256(file)}  {file.name}\n" for file in sorted(folder.iterdir()) if file.name != CHECKSUMS]
    (folder / CHECKSUMS).write_text("".join(lines))


def find_damage(folder: Path, names: tuple[str, ...] | None = None) -> str | None:
    """Return what is wrong with the files of a folder, in words; None where they are as they were written.

    Parameters
    ----------
    folder
        Has checksums.
    names
        Files to check; by default all that are there or should be.

    Raises
    ------
    OSError
        If a file that exists cannot be read.
    """
    try:
        text = (folder / CHECKSUMS).read_text()
        listed = {name: digest for digest, name in (line.split("  ", 1) for line in text.splitlines())}
        # a damaged list must not lead to files outside the folder
        if any(name in ("", "..") or Path(name).name != name for name in listed):
            raise ValueError
        present = (file.name for file in folder.iterdir() if file.name != CHECKSUMS)
        for name in sorted({*listed, *present}) if names is None else names:
            if listed.get(name) != sha256(folder / name):
                return f"{name} is not what was written: its checksum differs"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except ValueError:
        return f"{CHECKSUMS} is damaged"
    return None


def untrusted_owner(folder: Path) -> str | None:
    """Return why files of a folder may be another user's work; None where they are this user's or root's alone.

    The folder above counts, since its owner and all who may write to it can replace the folder. Members of a group
    count as other users. None on a system without such users.
    """
    if not hasattr(os, "geteuid"):
        return None
    above, own = folder.parent.stat(), folder.lstat()
    files = [(file, file.lstat()) for file in sorted(folder.iterdir())]
    for path, status in ((folder.parent, above), (folder, own), *files):
        if stat.S_ISLNK(status.st_mode):
            return f"{path} is a link"
        if status.st_uid not in (os.geteuid(), 0):
            return f"{path} belongs to another user (uid {status.st_uid})"
    # the bits of group and others: write; and enter the folder (x), moved to where w is, without which no file in it
    # can be reached
    may_write, may_enter = 0o022, own.st_mode << 1 & 0o022
    # in a sticky folder such as /tmp, nobody can replace what belongs to others
    writable = [folder.parent] if above.st_mode & may_write and not above.st_mode & stat.S_ISVTX else []
    writable += [folder] if own.st_mode & may_write else []
    writable += [file for file, status in files if status.st_mode & may_enter]
    return f"other users may write to {writable[0]} (chmod go-w ends that)" if writable else None


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
