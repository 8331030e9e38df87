"""The benchmarks' contract with a modality: it reads labelled rows, says which are equal, and embeds them.

Scores, splits, duplicates, probes, nearest neighbours, seeds and reports are the same for all.
"""

import pkgutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from dnar2mae.modalities.registry import modality_spec

if TYPE_CHECKING:
    from dnar2mae.benchmarks.tasks.suite import SuiteTask


class LabelledRows(NamedTuple):
    """Rows of one split."""

    rows: Sequence[Any]
    """Input of the modality's encoders: letters, arrays, or indices into a file that stays on disk."""
    labels: Sequence[int]
    """Class ids, by the task's label map."""
    remarks: Mapping[str, int] = {}
    """Remarks for the reader of a report, each with the number of rows that it is about."""
    groups: Sequence[str] = ()
    """Rows of one group share a fold; empty where only equal rows must."""


@runtime_checkable
class RowEmbedder(Protocol):
    """A network that turns each row into one vector, as ``knn`` and probes of one kind of vectors need."""

    kind: str
    """checkpoint, huggingface or random."""
    digest: str
    """Hash of the weights."""

    @property
    def num_parameters(self) -> int:
        """Return the number of weights."""

    def embed(self, rows: Sequence[Any], **options: Any) -> Float[np.ndarray, "N D"]:
        """Return a ``float32`` vector a row; ``options`` are ``both_strands`` and ``allow_truncation``, for DNA."""

    def with_random_weights(self, seed: int) -> "RowEmbedder":
        """Return the control: the same architecture, nothing learned."""


@runtime_checkable
class LayerEmbedder(RowEmbedder, Protocol):
    """A network that also has vectors of several layers, among which a probe chooses."""

    def poolings(
        self, rows: Sequence[Any], wanted: Collection[str], **options: Any
    ) -> dict[str, Float[np.ndarray, "N _"]]:
        """Return vectors by name, as :func:`dnar2mae.benchmarks.models.pooling.by_name` has them, from one pass.

        Of those that take time or memory (hidden units, parts of the input) only what is ``wanted``.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledData:
    """How labelled rows of one modality are looked for, read, compared and embedded."""

    find: Callable[["SuiteTask", Path], bool]
    """Whether a folder has the task's test rows."""
    read: Callable[["SuiteTask", Path], dict[str, LabelledRows]]
    """Splits that a task's folder has, by name: test, and train, dev or both."""
    key: Callable[[Any], bytes]
    """Content of a row: rows with equal keys are duplicates, and stay together where a split is held out."""
    load: Callable[[str, str, bool], RowEmbedder]
    """Encoder of a model's path, a device, and whether a folder's own code may run."""
    raw: Callable[["SuiteTask", Path, Sequence[Any]], Mapping[str, Any]]
    """Features of a task's rows without a network, by name: ``[N, F]``, dense or sparse."""
    raw_names: tuple[str, ...] = ()
    """Their names, where these are the same for all tasks, so that they need not be made to be listed."""
    reverse: Callable[[Any], Any] | None = None
    """The same molecule read from its other strand; None where there is no such thing."""
    baselines: tuple[str, ...] = ("random", "raw", "combined")
    """Controls that make sense."""


def labelled_data(modality: str) -> LabelledData:
    """Return how a modality's rows are read and embedded, by its name; a worker process finds the same.

    Raises
    ------
    ConfigError
        If there is no such modality.
    """
    return pkgutil.resolve_name(modality_spec(modality).benchmark or "dnar2mae.benchmarks.rows.samples:SAMPLES")
