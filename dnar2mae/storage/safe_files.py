"""Files to rely on: written whole or not at all, checked against damage, and of this user.

``SHA256SUMS`` in a folder has the format of coreutils: ``sha256sum --check SHA256SUMS`` does the same there as
:func:`find_damage`. A damaged ``SHA256SUMS`` matches no file, so it is found too.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dnar2mae.errors import ConfigError

CHECKSUMS = "SHA256SUMS"


def write_whole(path: Path, text: str) -> None:
    """Write a text file: whoever reads it, and whenever the machine stops, finds the old text or the new one.

    A file that has the text already is left as it is: a full disk is no matter then.
    """
    if path.is_file() and not path.is_symlink() and path.read_bytes() == text.encode():
        return
    with written_whole(path) as partial, partial.open("x", encoding="utf-8") as file:
        file.write(text)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path to write a file to, which replaces ``path`` when all went well and is removed when not.

    Whoever reads ``path``, and whenever the machine stops, finds the old file or the new one. The path to write to
    has the same suffix, by which some writers choose their format. One process at a time may write a file.
    """
    partial = path.with_name(f".{path.name}.partial{path.suffix}")
    partial.unlink(missing_ok=True)  # of a process that was killed; never write through a link
    try:
        yield partial
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
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(out) as partial:
            yield partial
    except OSError as error:
        raise ConfigError(f"--out must be writable, got {out}: {error.strerror or error}") from error


@contextmanager
def folder_written_whole(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill, which replaces ``folder`` when all went well and is removed when not."""
    folder = folder.absolute()
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
        partial.mkdir(parents=True)
        yield partial
        for file in partial.rglob("*"):
            flush(file)
        flush(partial)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
        flush(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def flush(path: Path) -> None:
    """Wait until a file or a folder's entries are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_checksums(folder: Path) -> None:
    """Write the checksums of all files of a folder."""
    lines = [f"{sha256(file)}  {file.name}\n" for file in sorted(folder.iterdir()) if file.name != CHECKSUMS]
    (folder / CHECKSUMS).write_text("".join(lines))


def find_damage(folder: Path, names: tuple[str, ...] | None = None) -> str | None:
    """Say what is wrong with the files of a folder; None where they are what was written.

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
    """Say why the files of a folder may be another user's work; None where only this user (or root) can have made them.

    The folder above counts, since its owner and whoever may write to it can replace the folder. Members of a group
    count as other users. Where the system has no such users, nothing is said.
    """
    if not hasattr(os, "geteuid"):
        return None
    above, own = folder.parent.stat(), folder.lstat()
    files = [(file, file.lstat()) for file in sorted(folder.iterdir())]
    for place, status in ((folder.parent, above), (folder, own), *files):
        if stat.S_ISLNK(status.st_mode):
            return f"{place} is a link"
        if status.st_uid not in (os.geteuid(), 0):
            return f"{place} belongs to another user (uid {status.st_uid})"
    may_write, may_enter = 0o022, own.st_mode << 1 & 0o022
    writable = [folder.parent] if above.st_mode & may_write and not above.st_mode & stat.S_ISVTX else []
    writable += [folder] if own.st_mode & may_write else []
    writable += [file for file, status in files if status.st_mode & may_enter]
    return f"other users may write to {writable[0]} (chmod go-w ends that)" if writable else None


def sha256(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
