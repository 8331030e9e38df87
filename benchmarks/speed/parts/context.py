"""The context of every part: folder of the rows, columns about the machine, failures that end one row only."""

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dnar2mae.benchmarks.speed import rows
from dnar2mae.benchmarks.speed.gpu import RUN_PRESETS


@dataclass(kw_only=True)
class Context:
    """A part in progress."""

    out: Path
    """Folder of the rows."""
    commit: str = "unknown"
    """Commit in the rows."""
    genome: Path | None = None
    """FASTA to train on; by default one is simulated."""
    presets: Sequence[str] = RUN_PRESETS
    """What is pretrained for a minute each."""
    dry: bool = False
    """Tiny sizes on a CPU."""
    failures: list[str] = field(default_factory=list)
    """What went wrong so far."""

    @property
    def device(self) -> str:
        """Return ``cpu`` in a dry run, else ``cuda``."""
        return "cpu" if self.dry else "cuda"

    @cached_property
    def stamp(self) -> dict[str, str]:
        """Return device, torch, commit and date."""
        return rows.stamp(self.commit)

    def append(self, name: str, row: dict[str, Any]) -> None:
        """Write a row to ``NAME.csv`` and print its values."""
        rows.append(self.out / f"{name}.csv", {**row, **self.stamp})
        print(*(str(value)[:60] for value in row.values()), sep="\t")

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Print an error and go on with the next measurement."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 anything may come out of other projects' code on an unknown machine
            self.failures.append(what)
            traceback.print_exc(limit=-4)
            print(f"{what}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
