"""Exceptions for users; each also derives from the built-in that a caller would expect."""


class Dnar2maeError(Exception):
    """Base of every error this package raises on purpose: its message is one line for the user."""

    def __str__(self) -> str:
        """Message; a line break or control character that a file's content brought into it is shown as a space."""
        return "".join(letter if letter.isprintable() else " " for letter in super().__str__())


class ConfigError(Dnar2maeError, ValueError):
    """A setting breaks its documented rule."""


class SequenceError(Dnar2maeError, ValueError):
    """A sequence file, coordinate or interval breaks its documented rule."""


class DataError(Dnar2maeError, ValueError):
    """A file of another kind of data (images, text, cells) breaks its documented rule."""


class RunError(Dnar2maeError, RuntimeError):
    """A run directory or checkpoint cannot be used, or training cannot go on."""
