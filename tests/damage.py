"""Damage to files, as disks and crashes do it."""

from pathlib import Path


def flip_bit(file: Path, bit: int) -> None:
    """Invert one bit of a file."""
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)


def cut(file: Path, share: float = 0.5) -> None:
    """Keep the beginning of a file."""
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
