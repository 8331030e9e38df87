"""What a run reached."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dnar2mae.storage.safe_files import write_whole


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """What a run reached; also saved as ``summary.json``."""

    out: str
    """Run directory."""
    steps: int
    """Steps done."""
    finished: bool
    """False if the run was interrupted and can be resumed."""
    parameters: int
    """Number of weights."""
    seconds: float
    """Wall-clock time of this process's training steps and validations."""
    unit: str = ""
    """Unit of the losses below."""
    held_out: float = math.nan
    """Held-out loss at mask ratio 0.15."""
    untrained: float = math.nan
    """The same of the model before its first step."""
    curve: dict[str, float] = field(default_factory=dict)
    """Held-out loss by mask ratio."""
    yardstick: dict[str, float] = field(default_factory=dict)
    """Held-out loss of trivial models fitted on the same training data."""
    clipped: dict[str, float] = field(default_factory=dict)
    """Share of the steps whose gradient was clipped: of all, and by tenths of the mask ratio."""
    data: dict[str, Any] = field(default_factory=dict)
    """What it was trained on."""

    def save(self, path: Path) -> None:
        """Write it as JSON, in which numbers that are not finite are null."""
        write_whole(path, json.dumps(_finite(asdict(self)), indent=1, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
