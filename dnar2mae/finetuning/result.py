"""The result of a fine-tuning."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from dnar2mae.errors import RunError, raising
from dnar2mae.run.result import finite
from dnar2mae.scoring.intervals import Interval
from dnar2mae.storage.safe_files import write_whole

Scores = dict[str, Interval]


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneResult:
    """The result of a fine-tuning; also saved as ``summary.json``."""

    out: str
    """Run directory."""
    steps: int
    """Steps done."""
    finished: bool
    """False if the run was interrupted and can be resumed."""
    parameters: int
    """Number of weights."""
    learned: int
    """Number of those that were trained."""
    seconds: float
    """Wall-clock time of this process."""
    target: dict[str, Any] = field(default_factory=dict)
    """Kind of target, as ``target.json`` has it."""
    main: str = ""
    """The score by which models are compared."""
    notes: tuple[str, ...] = ()
    """What was found: the kind of target, the split, repeated rows."""
    rows: dict[str, int] = field(default_factory=dict)
    """Samples by part."""
    scores: Scores = field(default_factory=dict)
    """Scores on test with 95 % intervals."""
    yardsticks: dict[str, Scores] = field(default_factory=dict)
    """Scores of trivial models and of random weights, trained on the same rows."""
    ceiling: Scores = field(default_factory=dict)
    """Scores of the true expectation, where the table has it."""
    best: dict[str, float] = field(default_factory=dict)
    """Step of the state that is kept, and its value on dev."""
    calibration: dict[str, Any] = field(default_factory=dict)
    """Temperature, and the mean error of probabilities on test with it and without; see :func:`.calibration`."""

    def save(self, path: Path) -> None:
        """Write it as JSON, in which numbers that are not finite are null."""
        write_whole(path, json.dumps(finite(asdict(self)), indent=1, allow_nan=False))

    @classmethod
    def read(cls, path: Path) -> "FinetuneResult":
        """Read what :meth:`save` wrote.

        Raises
        ------
        RunError
            If the file cannot be read or is no summary of a fine-tuning.
        """
        faults = (OSError, ValueError, TypeError, AttributeError, KeyError)
        with raising(RunError, f"{path}: not the summary of a fine-tuning", *faults):
            content = json.loads(path.read_text(encoding="utf-8"))
            known = {f.name: content[f.name] for f in fields(cls) if f.name in content}
            yardsticks = {name: _scores(of) for name, of in known["yardsticks"].items()}
            scores = {name: _scores(known[name]) for name in ("scores", "ceiling")}
            return cls(**known | scores | {"yardsticks": yardsticks, "notes": tuple(known["notes"])})


def _scores(content: Mapping[str, Mapping[str, float | None]]) -> Scores:
    """Return scores as they were before they were saved."""
    return {
        name: Interval(**{key: math.nan if value is None else value for key, value in ends.items()})
        for name, ends in content.items()
    }
