"""A pretrained run that a page is written about, and its model where a section needs it."""

from functools import cached_property
from pathlib import Path

from dnar2mae.config import PretrainConfig
from dnar2mae.errors import ConfigError, RunError
from dnar2mae.genome.annotation import PlacedLines, read_lines
from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model, TrainedModel, load
from dnar2mae.modalities.registry import build_modality
from dnar2mae.report.options import PageOptions
from dnar2mae.report.page_run import PageRun
from dnar2mae.run.config_file import read_config
from dnar2mae.run.result import RunResult
from dnar2mae.storage.remote import local_path


class ReportedRun(PageRun):
    """A finished or stopped run of pretraining; see :class:`.PageRun`.

    Parameters
    ----------
    path, options
        As there.
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
        super().__init__(path, options)
        self._device = device
        self.config: PretrainConfig = read_config(path / "config.yaml", whole=True)
        self.read_progress()
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
