"""Exceptions for users, each also derived from the built-in that a caller would expect; and checks of settings."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin


class Dnar2maeError(Exception):
    """Base of every error that this package raises for a user: its message is one line."""

    def __str__(self) -> str:
        """Return the message; a line break or control character that a file's content brought into it is a space."""
        return "".join(letter if letter.isprintable() else " " for letter in super().__str__())


class ConfigError(Dnar2maeError, ValueError):
    """A setting breaks its documented rule."""


class SequenceError(Dnar2maeError, ValueError):
    """A sequence file, coordinate or interval breaks its documented rule."""


class DataError(Dnar2maeError, ValueError):
    """A file of another modality (images, text, cells) breaks its documented rule."""


class RunError(Dnar2maeError, RuntimeError):
    """A run directory or checkpoint cannot be used, or training cannot go on."""


@contextmanager
def raising(kind: type[Dnar2maeError], message: str, *errors: type[BaseException]) -> Iterator[None]:
    """Turn errors of other code into one of ours: ``message``, and what the error itself says, on one line.

    Parameters
    ----------
    kind
        Class of ours.
    message
        What failed, and where.
    errors
        Classes to turn; of ours only those that are named.
    """
    try:
        yield
    except errors as error:
        if isinstance(error, Dnar2maeError) and type(error) not in errors:
            raise
        raise kind(f"{message}: {reason(error)}") from error


@contextmanager
def needing(what: str, package: str, install: str, kind: type[Dnar2maeError] = ConfigError) -> Iterator[None]:
    """Say of a package that is missing what needs it and how to install it."""
    try:
        yield
    except ImportError as error:
        raise kind(f"{what} needs the package {package}: pip install '{install}'") from error


def reason(error: BaseException) -> str:
    """Return what an error says, on one line; of an error of the system without the path, which messages name."""
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__


def require(ok: bool, name: str, rule: str, value: object) -> None:
    """Raise a ``ConfigError`` that names a setting by its flag, the rule and the value, unless ``ok``."""
    if not ok:
        raise ConfigError(f"--{name} must be {rule}, got {value}")


def require_ranges(settings: Any, ranges: Mapping[str, Sequence[str]], prefix: str = "") -> None:
    """Check numbers of a dataclass; None, which stands for a default, keeps every rule.

    Parameters
    ----------
    settings
        The dataclass.
    ranges
        Names of fields by their rule: ``at least 1``, ``> 0``, or an interval such as ``in (0, 0.5]``.
    prefix
        Prefix of the fields' names in flags, such as ``mask.``.

    Raises
    ------
    ConfigError
        If a number breaks its rule.
    """
    for rule, names in ranges.items():
        for name in names:
            value = getattr(settings, name)
            require(value is None or _keeps(value, rule), prefix + name.replace("_", "-"), rule, value)


def _keeps(value: float, rule: str) -> bool:
    *kind, low, high = rule.replace(",", "").split()
    if kind == ["in"]:
        above = value >= float(low[1:]) if low[0] == "[" else value > float(low[1:])
        return above and (value <= float(high[:-1]) if high[-1] == "]" else value < float(high[:-1]))
    return value > float(high) if low == ">" else value >= float(high)


def require_choices(settings: Any, prefix: str = "") -> None:
    """Check every field of a dataclass whose type is a ``Literal``: Python itself lets any value pass.

    Parameters
    ----------
    settings
        The dataclass.
    prefix
        Prefix of its fields' names in flags, such as ``mask.``.

    Raises
    ------
    ConfigError
        If a value is none of its field's choices.
    """
    for field in fields(settings):
        if get_origin(field.type) is Literal:
            *others, last = map(str, get_args(field.type))
            value = getattr(settings, field.name)
            rule = f"{', '.join(others)} or {last}" if others else last
            require(value in get_args(field.type), prefix + field.name.replace("_", "-"), rule, value)
