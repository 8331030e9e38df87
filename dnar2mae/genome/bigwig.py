"""bigWig files by the package pybigtools."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from dnar2mae.errors import Dnar2maeError, SequenceError, needing, reason

_MAGIC = 0x888FFC26


class BigWig:
    """An open bigWig file, of which blocks are read as they are needed; it can be pickled and used after a fork.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    SequenceError
        The file cannot be read as bigWig.
    ConfigError
        The package is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _reading(path):
            with path.open("rb") as file:
                head = file.read(4)
            if head not in (_MAGIC.to_bytes(4, "little"), _MAGIC.to_bytes(4, "big")):
                raise SequenceError(f"{path}: does not begin as bigWig does")
        self._reader: tuple[int, Any] | None = None
        with _reading(path):
            self.lengths: dict[str, int] = self._opened().chroms()
        """Length in bp of each sequence, in the file's order."""

    def values(self, name: str, start: int, end: int) -> Float32[np.ndarray, " L"]:
        """Return the values of ``[start, end)`` of a sequence, NaN where there is none.

        Raises
        ------
        SequenceError
            The file is damaged there.
        """
        if start == end:  # which pybigtools refuses
            return np.zeros(0, np.float32)
        with _reading(self.path):
            # fillna=None: as the default, without its warning that the default was another once
            return self._opened().values(name, start, end, fillna=None).astype(np.float32)

    def __reduce__(self) -> tuple:
        """Pickle as the path."""
        return BigWig, (self.path,)

    def _opened(self) -> Any:
        # processes that were forked would share one position in the file
        if self._reader is None or self._reader[0] != os.getpid():
            self._reader = os.getpid(), _pybigtools(self.path).open(str(self.path))
        return self._reader[1]


def write_bigwig(path: Path, lengths: Mapping[str, int], runs: Iterable[tuple[str, int, int, float]]) -> None:
    """Write a bigWig file.

    Parameters
    ----------
    path
        Ends in ``.bw`` or ``.bigwig``.
    lengths
        Length in bp of each sequence.
    runs
        Name, start, end and value; one at least, sorted by start within a sequence, disjoint.
    """
    failure: list[BaseException] = []

    def watched() -> Iterator[tuple[str, int, int, float]]:
        # pybigtools prints an error of the iterator, and writes what came before it
        try:
            yield from runs
        except BaseException as error:  # noqa: BLE001 - raised below
            failure.append(error)

    _pybigtools(path).open(str(path), "w").write(dict(lengths), watched())
    if failure:
        raise failure[0]
    BigWig(path)  # other errors are printed alone


def _pybigtools(path: Path) -> Any:
    with needing(f"{path}: a bigWig file", "pybigtools", "dnar2mae[tracks]"):
        import pybigtools
    return pybigtools


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn errors of reading into ours."""
    try:
        yield
    except Dnar2maeError:
        raise
    except BaseException as error:  # a damaged block is a panic of Rust, whose class is no Exception
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise SequenceError(f"{path}: cannot be read as bigWig; damaged? {reason(error)}") from error
        raise
