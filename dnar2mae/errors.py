"""Exceptions for users; each also derives from the built-in that a caller would expect."""


class Dnar2maeError(Exception):
    """Base of every error this package raises on purpose: its message is one line for the user."""


class ConfigError(Dnar2maeError, ValueError):
    """A setting breaks its documented rule."""


class SequenceError(Dnar2maeError, ValueError):
    """A sequence file, coordinate or interval breaks its documented rule."""


class ImageError(Dnar2maeError, ValueError):
    """An image, or a file or folder of images, breaks its documented rule."""


class RunError(Dnar2maeError, RuntimeError):
    """A run directory or checkpoint cannot be used, or training cannot go on."""
