"""Digests by which a resumed run checks that its data are the same, even if they have moved."""

import hashlib
import json
from pathlib import Path

from dnar2mae.storage.safe_files import CHECKSUMS


def of_values(*values: object) -> str:
    """Return the digest of values that JSON can represent."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def of_many(folder: Path, files: list[Path], head_bytes: int = 1 << 16) -> str:
    """Return the digest of names below a folder, sizes and beginnings of files: of so many that reading all is slow.

    Raises
    ------
    OSError
        If one cannot be read.
    """
    entries = []
    for path in files:
        with path.open("rb") as stream:
            head = hashlib.sha256(stream.read(head_bytes)).hexdigest()
        entries.append((path.relative_to(folder).as_posix(), path.stat().st_size, head))
    return of_values(entries)


def of_cache(folder: Path) -> str:
    """Return the digest of a cache's arrays, from their checksums.

    Its index is left out, since it has the path of the source.

    Raises
    ------
    OSError
        If the cache is gone.
    """
    lines = (folder / CHECKSUMS).read_text().splitlines()
    return of_values([line for line in lines if not line.endswith("  index.json")])
