"""Values that are kept beside the output while they are computed, so that a call that was killed can go on."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from dnar2mae.errors import ConfigError
from dnar2mae.storage.safe_files import locked, remove, write_whole

_SETTINGS, _VALUES = "settings.json", "values.f32"


class KeptValues:
    """A folder with the settings that values follow from, and the values so far: ``X.bw.partial`` beside ``X.bw``.

    Parameters
    ----------
    out
        The output.
    settings
        What the values follow from, as JSON can represent it.
    width
        Values of a base.
    overwrite
        Remove what other settings have left.

    Raises
    ------
    ConfigError
        If other settings have left values there.
    """

    def __init__(self, out: Path, settings: Mapping[str, object], width: int, *, overwrite: bool) -> None:
        self.folder, self.width = out.with_name(f"{out.name}.partial"), width
        written = json.dumps(settings, indent=1)
        file = self.folder / _SETTINGS
        if self.folder.exists() and (not file.is_file() or file.read_text() != written):
            if not overwrite:
                raise ConfigError(f"{self.folder}: left by a call with other settings; remove it, or give --overwrite")
            remove(self.folder)
        if not file.is_file():  # else another process may hold it
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(file, written)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes away; the system ends that however this process ends.

        Raises
        ------
        ConfigError
            If another process computes these values.
        """
        with locked(self.folder / _SETTINGS, ConfigError(f"{self.folder}: another process is at it; wait for its end")):
            yield

    def num_bases(self) -> int:
        """Return how many bases have all of their values."""
        file = self.folder / _VALUES
        return file.stat().st_size // (4 * self.width) if file.is_file() else 0

    def truncate(self, num_bases: int) -> None:
        """Keep the values of so many bases: a call that was killed may have written a part of a window."""
        with (self.folder / _VALUES).open("ab") as file:
            file.truncate(4 * self.width * num_bases)

    def append(self, values: Float32[np.ndarray, "N W"]) -> None:
        """Add values of the next bases."""
        with (self.folder / _VALUES).open("ab") as file:
            file.write(np.ascontiguousarray(values, "<f4").tobytes())

    def read(self, start: int, end: int) -> Float32[np.ndarray, "N W"]:
        """Return the values of bases by their number."""
        with (self.folder / _VALUES).open("rb") as file:
            file.seek(4 * self.width * start)
            flat = np.fromfile(file, "<f4", (end - start) * self.width)
        return flat.reshape(-1, self.width)

    def remove(self) -> None:
        """Remove the folder."""
        remove(self.folder)
