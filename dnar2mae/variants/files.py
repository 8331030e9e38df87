"""The interface that VCF files and tables of variants share."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from dnar2mae.variants.scores import Scores

FIELDS = {
    "R2MAE_LLR": ("Float", "Log-likelihood ratio of ALT against REF in nats; lower is less expected"),
    "R2MAE_DIST": ("Float", "Euclidean distance of the mean embeddings of REF and ALT"),
    "R2MAE_STATUS": ("String", "scored, or why there is no score"),
}
"""Names, types and meaning of the fields that scoring adds to a variant."""


@runtime_checkable
class Writer(Protocol):
    """Takes records in order."""

    def write(self, record: Any, scores: Scores, statuses: Sequence[str]) -> None:
        """Write a record with one score and status an alternative allele."""


@runtime_checkable
class Variants(Protocol):
    """A file of variants."""

    def records(self) -> Iterator[Any]:
        """Yield records in order, each with ``chrom``, ``pos`` (1-based), ``start`` (0-based), ``ref`` and ``alts``."""

    def has_field(self, name: str) -> bool:
        """Tell whether records can have a label of this name."""

    def label(self, record: Any, name: str, allele: int) -> str | None:
        """Return an alternative allele's label, if it has one."""

    def writer(self, out: Path, *, distance: bool, source: str) -> AbstractContextManager[Writer]:
        """Open the output; it appears under its name when all went well."""


def texts(values: np.ndarray, missing: str) -> list[str]:
    """Write numbers with six digits."""
    return [missing if np.isnan(value) else f"{value:.6g}" for value in values]
