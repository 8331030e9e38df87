"""Exceptions for users, each also derived from the built-in that a caller would expect; and checks of settings."""

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


def require(ok: bool, name: str, rule: str, value: object) -> None:
    """Raise a ``ConfigError`` that names a setting by its flag, the rule and the value, unless ``ok``."""
    if not ok:
        raise ConfigError(f"--{name} must be {rule}, got {value}")


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
