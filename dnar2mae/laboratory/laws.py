"""Mask laws by name, and the fixed ratio that each must be compared with."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dnar2mae.config import MaskConfig
from dnar2mae.errors import ConfigError, raising
from dnar2mae.mask_laws import parse_law

_MODIFIERS = "/sample, /spans:MEAN, /spans:MEAN,LONGEST, /pmi:LENGTH or /token"


@dataclass(frozen=True, slots=True)
class Law:
    """A ratio law with its placement and weighting."""

    name: str
    """As :func:`parse_mask` reads it, numbers in their shortest form."""
    mask: MaskConfig

    @property
    def mean(self) -> float:
        """Return the mask ratio on average over the law and the run."""
        return self.mask.ratio_law().mean

    @property
    def control(self) -> "Law":
        """Return the law itself if its ratio is fixed; else the fixed ratio at its mean, placed and weighted alike."""
        law = self.mask.ratio_law()
        if law.control is law:
            return self
        _, *modifiers = self.name.split("/")
        name = "/".join([law.control.name, *(m for m in modifiers if m != "sample")])
        return Law(name, replace(self.mask.with_law(law.control), per="batch"))


def parse_mask(text: str, base: MaskConfig | None = None) -> Law:
    """Read a law from its name.

    Parameters
    ----------
    text
        ``NAME:NUMBERS`` and modifiers, as ``uniform:0.05,0.5/sample`` or ``fixed:0.15/spans:3/token``.
    base
        Settings that a name leaves open (the shares of replaced tokens).

    Raises
    ------
    ConfigError
        If it cannot be read or a number breaks its rule: ratios are in (0, 1), so no law can mask everything.
    """
    head, *modifiers = text.split("/")
    with raising(ConfigError, "--laws", ConfigError):
        law = parse_law(head)
    values: dict[str, object] = {"per": "batch", "placement": "independent", "weighting": "batch"}
    name = [law.name]
    # One order of modifiers, so that a law has one name, by which finished runs are found.
    for modifier in sorted(modifiers, key=lambda m: (m.startswith("token"), not m.startswith("sample"))):
        of_modifier, written = _modifier(modifier, text)
        name.append(written)
        values |= of_modifier
    placed = [part for part in name[1:] if part not in ("sample", "token")]
    if len(placed) > 1 or len(set(name)) < len(name):
        raise ConfigError(f"--laws {text}: a law has one placement, and each modifier once")
    with raising(ConfigError, f"--laws {text}", ConfigError):
        return Law("/".join(name), replace((base or MaskConfig()).with_law(law), **values))  # type: ignore[arg-type]


def with_controls(laws: Sequence[Law]) -> tuple[list[Law], list[Law]]:
    """Add the fixed ratio at the mean of every law whose ratio varies.

    Returns
    -------
    laws
        All of them, the given ones first.
    added
        The fixed ratios that were added.

    Raises
    ------
    ConfigError
        If a law is given twice.
    """
    names = [law.name for law in laws]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(f"--laws must differ, got {twice[0]} twice")
    controls = {law.control.name: law.control for law in laws}
    added = [control for name, control in controls.items() if name not in names]
    return [*laws, *added], added


def _modifier(text: str, law: str) -> tuple[dict[str, object], str]:
    """Return the settings that a modifier changes, and its name with numbers in their shortest form."""
    refused = ConfigError(f"--laws {law}: after the ratio law may come {_MODIFIERS}, got /{text}")
    name, _, rest = text.partition(":")
    try:
        numbers = tuple(float(value) for value in rest.split(",")) if rest else ()
    except ValueError:
        raise refused from None
    written = ":".join([name, *([",".join(f"{number:g}" for number in numbers)] if numbers else [])])
    match name, len(numbers):
        case "sample", 0:
            return {"per": "sample"}, written
        case "token", 0:
            return {"weighting": "token"}, written
        case "spans", 1 | 2:
            longest = {"span_max": int(numbers[1])} if len(numbers) == 2 else {}
            return {"placement": "spans", "span_mean": numbers[0], **longest}, written
        case "pmi", 1:
            return {"placement": "pmi", "pmi_length": int(numbers[0])}, written
    raise refused
