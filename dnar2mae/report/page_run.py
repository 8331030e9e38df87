"""A run that a page is written about: what every kind of run keeps in its folder, and what was computed before."""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from dnar2mae.errors import RunError, raising
from dnar2mae.report.options import PageOptions
from dnar2mae.run.checkpoint import find_checkpoint
from dnar2mae.run.metrics import read_metrics
from dnar2mae.run.result import finite
from dnar2mae.storage.fingerprint import of_values
from dnar2mae.storage.remote import local_path
from dnar2mae.storage.safe_files import CHECKSUMS, sha256, write_whole

COMPUTED = "report.json"
"""File of a run with what its page took long to compute."""


class PageRun:
    """A finished or stopped run.

    Parameters
    ----------
    path
        Run directory.
    options
        What is computed.

    Raises
    ------
    RunError
        If the path is no run, or nothing has been validated yet.
    """

    def __init__(self, path: Path, options: PageOptions) -> None:
        self.path, self.options = path, options
        if not (path / "config.yaml").is_file():
            raise RunError(f"{path}: expected the directory of a run: no config.yaml in it")

    def read_progress(self) -> None:
        """Read the metrics, and whether the run has come to its end."""
        with raising(RunError, f"{self.path}: no metrics that can be read", OSError, ValueError, KeyError):
            self.metrics = read_metrics(self.path)
            validated = [row["step"] for row in self.metrics if row["event"] == "validation"]
            self.last_step = max(row["step"] for row in self.metrics) if validated else 0
        if not validated:
            raise RunError(f"{self.path}: nothing to report yet: no validation has been done")
        self.is_finished = (self.path / "summary.json").is_file()

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, machine and command of the last process that trained; empty where they are not known."""
        with suppress(OSError, ValueError):
            content = json.loads((self.path / "environment.json").read_text(encoding="utf-8"))
            return content if isinstance(content, dict) else {}
        return {}

    def computed(self, name: str, compute: Callable[[], dict[str, Any]], *settings: object) -> dict[str, Any]:
        """Return what a function computes from the model, or what it did for an earlier page.

        Parameters
        ----------
        name
            Of the section.
        compute
            Called where the model, the annotation or a setting is another than then; returns what JSON can hold.
        settings
            All that the result depends on beside the model and the files of the annotation.
        """
        last = find_checkpoint(self.path)
        assert last is not None, "a folder with a configuration is a run"
        file, checkpoint = self.path / COMPUTED, last[1]
        key = of_values((checkpoint / CHECKSUMS).read_text(), self._digests(), [repr(value) for value in settings])
        stored: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            stored = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(stored, dict):
            stored = {}
        earlier = stored.get(name)
        if isinstance(earlier, dict) and earlier.get("key") == key:
            return earlier["value"]
        value = json.loads(json.dumps(finite(compute())))  # the same types as when it is read
        # of another user's run, whose folder is not ours to write, the page is computed each time
        with suppress(OSError):
            write_whole(file, json.dumps(stored | {name: {"key": key, "value": value}}, allow_nan=False))
        return value

    def _digests(self) -> list[str]:
        files = (self.options.genes, self.options.matrices)
        return [sha256(local_path(file)) if file else "" for file in files]
