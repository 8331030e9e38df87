"""The result of a run."""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from dnar2mae.errors import RunError, raising
from dnar2mae.storage.safe_files import write_whole

_CHANGE = 0.0005  # of a loss, that is worth a line
_RISE = 0.01  # of the lowest held-out loss, above which a rise is no noise of the validation


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """The result of a run; also saved as ``summary.json``."""

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
    standard_error: float = math.nan
    """Standard error of ``held_out``, over blocks of held-out samples."""
    samples: dict[str, int] = field(default_factory=dict)
    """Number of held-out samples behind these figures (``used``, evenly spaced), and of all (``held_out``)."""
    untrained: float = math.nan
    """Held-out loss of the model before its first step, over the fewer samples of a periodic validation."""
    best: dict[str, float] = field(default_factory=dict)
    """Lowest held-out loss of the periodic validations (``held_out``), its ``step``, and the ``last`` one."""
    classes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Held-out loss at mask ratio 0.15 by class of the samples, where they have one: ``value``, ``standard_error``
    (None of a single sample), and the number of ``samples``."""
    curve: dict[str, float] = field(default_factory=dict)
    """Held-out loss by mask ratio."""
    bound: dict[str, Any] = field(default_factory=dict)
    """Upper bound on the model's own bits: ``value``, ``standard_error``, ``extrapolated`` (which ratios the law never
    trains), ``curve`` (held-out loss at further ratios), with copies ``with_copies``; or ``not_reported``, the
    reason."""
    yardstick: dict[str, float] = field(default_factory=dict)
    """Held-out loss of trivial models fitted on the same training data, at the same masks where these matter."""
    yardstick_curve: dict[str, dict[str, float]] = field(default_factory=dict)
    """The best trivial model of each family by mask ratio."""
    margin: dict[str, dict[str, float | None]] = field(default_factory=dict)
    """``below_by``: how far the model is below these at mask ratio 0.15; its ``standard_error``, paired by block."""
    unique: dict[str, Any] = field(default_factory=dict)
    """Where a part of some held-out samples is in the training data too (of DNA 32 bases in a row): their number
    (``copied``), that of the other ``samples``, and of these the loss at mask ratio 0.15 (``value``,
    ``standard_error``) and ``margin``."""
    copies: dict[str, Any] = field(default_factory=dict)
    """Where anything like the held-out samples is in the training data: the loss at mask ratio 0.15 when what copies
    there say of masked tokens is taken into account (``value``, ``standard_error``), its ``curve`` by mask ratio, and
    ``margin``."""
    clipped: dict[str, float] = field(default_factory=dict)
    """Share of the steps whose gradient was clipped: of all, and by tenths of the mask ratio."""
    data: dict[str, Any] = field(default_factory=dict)
    """Description of the training data."""

    def save(self, path: Path) -> None:
        """Write it as JSON, in which numbers that are not finite are null."""
        write_whole(path, json.dumps(finite(asdict(self)), indent=1, allow_nan=False))

    @classmethod
    def read(cls, path: Path) -> "RunResult":
        """Read what :meth:`save` wrote, by this version or another: fields that this one lacks are left out.

        Raises
        ------
        RunError
            If the file cannot be read or is no summary.
        """
        with raising(RunError, f"{path}: not a run's summary", OSError, ValueError, TypeError, AttributeError):
            content = json.loads(path.read_text(encoding="utf-8"))
            known = {f.name: content[f.name] for f in fields(cls) if f.name in content}
            numbers = {f.name: math.nan for f in fields(cls) if f.type is float and known.get(f.name, 0) is None}
            if known.get("bound", {}).get("standard_error", 0) is None:
                known["bound"] = known["bound"] | {"standard_error": math.nan}
            return cls(**known | numbers)


def verdicts(unit: str, margin: dict[str, dict[str, float | None]]) -> list[str]:
    """Return a line per trivial model: whether the model is below it by two standard errors, where these are known."""
    lines = []
    for name, difference in margin.items():
        below, error = difference["below_by"], difference["standard_error"]
        assert below is not None
        size = f"{abs(below):.4f}" + ("" if error is None else f" ± {error:.4f}") + f" {unit}"
        if below > 2 * (error or 0):
            lines.append(f"Below {name} by {size}.")
        elif below < -2 * (error or 0):
            lines.append(f"Not below {name}, but above it by {size}.")
        else:
            lines.append(f"Level with {name}, {'below' if below > 0 else 'above'} it by {size} (within two errors).")
    return lines


def unique_lines(unit: str, unique: dict[str, Any]) -> list[str]:
    """Return what is known of the samples of which no part is in the training data, where others have such parts."""
    if not unique:
        return []
    copied = f"{unique['copied']:,} of these samples share a stretch with the training data"
    if "value" not in unique:
        return [f"{copied}: all."]
    error = "" if unique["standard_error"] is None else f" ± {unique['standard_error']:.4f}"
    first = f"{copied}. The other {unique['samples']:,}: {unique['value']:.4f}{error} {unit}."
    return [" ".join([first, *verdicts(unit, unique["margin"])])]


def copies_lines(held_out: float, unit: str, copies: dict[str, Any], bound: dict[str, Any]) -> list[str]:
    """Return what the loss is with copies of the training data looked up, where that changes it."""
    if not copies or abs(copies["value"] - held_out) < _CHANGE:
        return []
    error = "" if copies["standard_error"] is None else f" ± {copies['standard_error']:.4f}"
    area = bound.get("with_copies")
    first = f"With copies in the training data looked up: {copies['value']:.4f}{error} {unit}"
    first += f", as a density {area['value']:.4f}." if area else "."
    return [" ".join([first, *verdicts(unit, copies["margin"])])]


def bound_line(result: RunResult) -> str | None:
    """Return what is known of the model as a density, in a line; None of a result without."""
    bound = result.bound
    if not bound:
        return None
    if "not_reported" in bound:
        return f"No bound on the model's {result.unit}: {bound['not_reported']}."
    flag = f"; extrapolated: {bound['extrapolated']}" if bound["extrapolated"] else ""
    error = f" ± {bound['standard_error']:.4f}" if math.isfinite(bound["standard_error"]) else ""
    return (
        f"As a density the model needs at most {bound['value']:.4f}{error} {result.unit}, the area under its loss by "
        f"mask ratio{flag}."
    )


def advice(result: RunResult) -> str | None:
    """Return what to do about a model that fits its training windows too closely, or not closely enough."""
    if result.best and result.best["last"] > (1 + _RISE) * result.best["held_out"]:
        return (
            f"The held-out loss was lowest at step {result.best['step']:.0f} ({result.best['held_out']:.4f}) and has "
            f"risen to {result.best['last']:.4f}: the model fits its training data too closely. Take "
            f"{result.out}/checkpoints/best, or fewer --steps."
        )
    above = any((part["below_by"] or 0) < -2 * (part["standard_error"] or 0) for part in result.margin.values())
    return "Train longer, or on more data." if above else None


def finite(value: Any) -> Any:
    """Return nested values with None in place of numbers that are not finite, which JSON does not have."""
    if isinstance(value, dict):
        return {name: finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
