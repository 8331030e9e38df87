"""What several targets use."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from dnar2mae.errors import Dnar2maeError
from dnar2mae.genome.store import Genome

TO_STORE = str.maketrans("Uu" + "RYSWKMBDHVX" + "ryswkmbdhvx", "Tt" + "N" * 11 + "n" * 11)
"""What the store makes of letters."""
LENGTHS = {"chr1": 300, "2": 120, "chrM": 60}


class Refused(Exception):
    """The reader refused the bytes with an error for the user, as it may."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn an error for the user into ``Refused``, after a look at its form; all other errors pass as they are."""
    try:
        yield
    except Dnar2maeError as error:
        (message,) = error.args
        assert path.name in message, f"a message that does not name the file: {message!r}"
        raise Refused from error


@cache
def genome(folder: Path) -> Genome:
    """A small genome that BED, GFF and VCF files refer to."""
    path = folder / "genome.fa"
    path.write_text("".join(f">{name}\n{('ACGTTGCANN' * 40)[:length]}\n" for name, length in LENGTHS.items()))
    return Genome.open(path, cache_dir=folder / "genome-cache", progress=False)
