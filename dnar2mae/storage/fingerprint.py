"""Digests by which a resumed run knows its data again, wherever they lie by then."""

import hashlib
import json
from pathlib import Path

from dnar2mae.storage.safe_files import CHECKSUMS


def of_values(*values: object) -> str:
    """Digest of values that JSON can hold."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def of_many(folder: Path, files: list[Path], head_bytes: int = 1 << 16) -> str:
    """Digest of names below a folder, sizes and beginnings of files: for so many that reading them all takes long.

    Raises
    ------
    OSError
        If one cannot be read.
    """
    found = []
    for path in files:
        with path.open("rb") as stream:
            head = hashlib.sha256(stream.read(head_bytes)).hexdigest()
        found.append((path.relative_to(folder).as_posix(), path.stat().st_size, head))
    return of_values(found)


def of_cache(folder: Path) -> str:
    """Digest of a cache's arrays, from their checksums; its index, which tells where the source lay, does not count.

    Raises
    ------
    OSError
        If the cache is gone.
    """
    lines = (folder / CHECKSUMS).read_text().splitlines()
    return of_values([line for line in lines if not line.endswith("  index.json")])
