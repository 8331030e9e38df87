"""A fine-tuned run that a page is written about."""

from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dnar2mae.config import PretrainConfig
from dnar2mae.errors import ConfigError, RunError
from dnar2mae.finetuning.answers import read_answers
from dnar2mae.finetuning.result import FinetuneResult
from dnar2mae.finetuning.saved import TunedDirectory
from dnar2mae.report.options import PageOptions
from dnar2mae.report.page_run import PageRun
from dnar2mae.run.config_file import read_config


class TunedRun(PageRun):
    """A finished or stopped run of fine-tuning; see :class:`.PageRun`.

    Raises
    ------
    RunError
        If the path is no run, or nothing has been validated yet.
    ConfigError
        If its configuration is damaged, or an annotation is given.
    """

    def __init__(self, path: Path, options: PageOptions) -> None:
        super().__init__(path, options)
        if options.genes is not None:
            raise ConfigError(f"--genes is for a pretrained run, and {path} is a fine-tuned one")
        self.directory = TunedDirectory(path)
        self.config, self.target = self.directory.read(), self.directory.read_target()
        self.pretrained: PretrainConfig = read_config(self.directory.backbone_folder / "config.yaml", whole=True)
        self.read_progress()
        self.is_per_base = self.target.per == "base"

    @cached_property
    def result(self) -> FinetuneResult:
        """The result; raises a ``RunError`` that says how to go on if there is none yet."""
        if not self.is_finished:
            raise RunError(
                f"stopped at step {self.last_step:,}, and this is measured after the last one: dnar2mae finetune "
                f"--resume --out {self.path} goes on"
            )
        return FinetuneResult.read(self.directory.summary_file)

    @cached_property
    def best_step(self) -> int:
        """The step that has been best on dev."""
        rows = [row for row in self.metrics if row["event"] == "validation" and row["held_out"] is not None]
        return min(rows, key=lambda row: row["held_out"])["step"] if rows else self.last_step

    @cached_property
    def answers(self) -> tuple[Float[np.ndarray, "M C"], Float[np.ndarray, "M P"]]:
        """Labels and predictions of the test rows, of many bases some; raises a ``RunError`` if there are none."""
        self.result  # noqa: B018 - says so if the run is not finished
        file = self.directory.predictions_file
        if not file.is_file():
            raise RunError(f"{file}: no such file; dnar2mae finetune --resume --out {self.path} writes it")
        return read_answers(file, self.target)
