"""Kinds of rows: what the benchmarks ask of DNA, images, text or cells.

A kind reads labelled rows, says which rows are equal, and makes an encoder of a run. Scores, splits, duplicates,
probes, nearest neighbours, seeds and reports are the same for all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from dnar2mae.errors import ConfigError

if TYPE_CHECKING:
    from dnar2mae.benchmarks.tasks.suite import SuiteTask

KINDS = {"dna": "dnar2mae.benchmarks.rows.dna:DNA", "samples": "dnar2mae.benchmarks.rows.samples:SAMPLES"}
"""Where each kind is defined, as ``module:name``, so that worker processes find it too."""
ENTRY_POINTS = "dnar2mae.rows"
"""Entry-point group by which an installed package adds kinds."""


class LabelledRows(NamedTuple):
    """Rows of one split as a kind reads them."""

    rows: Sequence[Any]
    """Whatever the kind's encoders embed: letters, arrays, or indices into a file that stays on disk."""
    labels: Sequence[int]
    """Class ids, by the task's label map."""
    remarks: Mapping[str, int] = {}
    """Number of rows, by what a reader should know of them."""


@runtime_checkable
class RowEmbedder(Protocol):
    """A network that gives one vector a row; what ``probe`` and ``knn`` need."""

    kind: str
    """checkpoint, huggingface or random."""
    digest: str
    """Hash of the weights."""

    @property
    def num_parameters(self) -> int:
        """Number of weights."""

    def embed(self, rows: Sequence[Any], **options: Any) -> Float[np.ndarray, "N D"]:
        """One vector a row, ``float32``. ``options`` are ``both_strands`` and ``allow_truncation``, of DNA only."""

    def with_random_weights(self, seed: int) -> "RowEmbedder":
        """The control: the same architecture, nothing learned."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """How rows of one kind are found, read, compared and embedded."""

    find: Callable[["SuiteTask", Path], bool]
    """Whether a folder holds the task's test rows."""
    read: Callable[["SuiteTask", Path], dict[str, LabelledRows]]
    """Splits that a task's folder has, by name: test, and train, dev or both."""
    key: Callable[[Any], bytes]
    """Content of a row: rows with equal keys are duplicates, and stay together where a split is held out."""
    load: Callable[[str, str, bool], RowEmbedder]
    """Encoder of a model's path, a device, and whether a folder's own code may run."""
    reverse: Callable[[Any], Any] | None = None
    """The same molecule read from its other strand; None where there is no such thing."""
    baselines: tuple[str, ...] = field(default=("random",))
    """Controls that make sense."""


def kind_of(name: str) -> Kind:
    """Look a kind up by the name that a suite gives as ``rows``.

    Raises
    ------
    ConfigError
        There is no such kind.
    """
    found = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)} | KINDS
    if name not in found:
        raise ConfigError(f"rows must be one of {', '.join(sorted(found))}, got {name!r}")
    module, _, attribute = found[name].partition(":")
    return getattr(import_module(module), attribute)
