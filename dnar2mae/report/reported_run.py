"""A run that a page is written about: its files, its model where a section needs it, and what was computed before."""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from dnar2mae.config import PretrainConfig
from dnar2mae.errors import ConfigError, RunError, raising
from dnar2mae.genome.annotation import PlacedLines, read_lines
from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model, TrainedModel, load
from dnar2mae.modalities.registry import build_modality
from dnar2mae.report.options import PageOptions
from dnar2mae.run.checkpoint import find_checkpoint
from dnar2mae.run.config_file import read_config
from dnar2mae.run.metrics import read_metrics
from dnar2mae.run.result import RunResult, finite
from dnar2mae.storage.fingerprint import of_values
from dnar2mae.storage.remote import local_path
from dnar2mae.storage.safe_files import CHECKSUMS, sha256, write_whole

COMPUTED = "report.json"
"""File of a run with what its page took a model to compute."""


class ReportedRun:
    """A finished or stopped run.

    Parameters
    ----------
    path
        Run directory.
    options
        What is computed.
    device
        Of the model.

    Raises
    ------
    RunError
        If the path is no run, or nothing has been validated yet.
    ConfigError
        If its configuration is damaged, or an annotation is given for a run that is not of DNA.
    SequenceError
        If the annotation or its genome cannot be read, or do not belong together.
    """

    def __init__(self, path: Path, options: PageOptions, device: str = "auto") -> None:
        self.path, self.options, self._device = path, options, device
        if not (path / "config.yaml").is_file():
            raise RunError(f"{path}: expected the directory of a run: no config.yaml in it")
        if (path / "target.json").is_file():
            raise RunError(
                f"{path}: expected a pretrained model, got a fine-tuned run: its summary.json, loss.png and "
                "calibration.png say how it went"
            )
        self.config: PretrainConfig = read_config(path / "config.yaml", whole=True)
        with raising(RunError, f"{path}: no metrics that can be read", OSError, ValueError, KeyError):
            self.metrics = read_metrics(path)
            validated = [row["step"] for row in self.metrics if row["event"] == "validation"]
            self.last_step = max(row["step"] for row in self.metrics) if validated else 0
        if not validated:
            raise RunError(f"{path}: nothing to report yet: no validation has been done")
        self.is_finished = (path / "summary.json").is_file()
        self.result = self._read_result()
        if options.genes is not None and self.config.modality != "dna":
            raise ConfigError(f"--genes is for a run on DNA, got one of --modality {self.config.modality}")
        if options.matrices is not None and not local_path(options.matrices).is_file():
            raise ConfigError(f"--matrices {options.matrices}: no such file")
        self.annotation: PlacedLines | None = None
        if options.genes is not None:
            self.annotation = read_lines(options.genes, Genome.open(self.genome_file))

    def _read_result(self) -> RunResult:
        """Read the summary; of a stopped run return what is known without one."""
        if self.is_finished:
            return RunResult.read(self.path / "summary.json")
        unit = build_modality(self.config, self.path).unit
        steps = self.last_step
        return RunResult(out=str(self.path), steps=steps, finished=False, parameters=0, seconds=0.0, unit=unit)

    def finished_result(self) -> RunResult:
        """Return the result; raise a ``RunError`` that says how to go on if there is none yet."""
        if not self.is_finished:
            raise RunError(
                f"stopped at step {self.last_step:,} of {self.config.steps:,}, and this is measured after the last "
                f"one: dnar2mae pretrain --out {self.path} --resume goes on"
            )
        return self.result

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, machine and command of the last process that trained; empty where they are not known."""
        with suppress(OSError, ValueError):
            content = json.loads((self.path / "environment.json").read_text(encoding="utf-8"))
            return content if isinstance(content, dict) else {}
        return {}

    @cached_property
    def trained(self) -> TrainedModel:
        """The model of the last checkpoint; raises as :func:`dnar2mae.inference.load`."""
        return load(self.path, device=self._device)

    @property
    def model(self) -> Model:
        """The same as a model of DNA."""
        return Model.of(self.trained)

    @property
    def genome_file(self) -> Path:
        """The sequence file that the annotation refers to."""
        named = [self.options.genome, *map(Path, self.config.data.genomes)]
        return next(file for file in named if file is not None)

    @property
    def genes(self) -> PlacedLines:
        """The annotation; raises a ``ConfigError`` that says how to give one."""
        if self.annotation is None:
            raise ConfigError(
                "no annotation was given: dnar2mae report "
                f"{self.path} --genes GENES.gff3 adds this section (GFF3, GTF, BED, GenBank or EMBL)"
            )
        return self.annotation

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
