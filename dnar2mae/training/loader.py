"""Batches of the steps, prepared ahead of the loop."""

from dataclasses import dataclass

import numpy as np
from torch.utils.data import DataLoader, Dataset

from dnar2mae.batch import Batch, Source
from dnar2mae.config import PretrainConfig
from dnar2mae.distributed import ALONE, Ranks
from dnar2mae.masking import Masker, draw_masks
from dnar2mae.training.stopping import ignore_signals, start_forkserver


@dataclass(frozen=True, slots=True)
class StepBatches(Dataset):
    """A data set of batches by step: samples ``step * batch_size`` to ``(step + 1) * batch_size``, or a rank's part."""

    source: Source
    config: PretrainConfig
    ranks: Ranks
    masker: Masker | None
    """Draws the masks of each batch; None: none are drawn."""
    counts_only: bool
    """The model's kernels draw the masks again, and need only the numbers."""

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of a step."""
        size = self.config.batch_size // self.ranks.size
        first = step * self.config.batch_size + self.ranks.rank * size
        batch = self.source.batch(np.arange(first, first + size))
        if self.masker is None:
            return batch
        objective = self.config.model.objective
        return draw_masks(self.masker.plan(step), batch, objective, counts_only=self.counts_only)


def batches(
    source: Source,
    config: PretrainConfig,
    first_step: int,
    *,
    masker: Masker | None = None,
    counts_only: bool = False,
    ranks: Ranks = ALONE,
    pin_memory: bool = False,
) -> DataLoader:
    """Return the batches of the steps from ``first_step`` on, with their masks.

    Parameters
    ----------
    source, config
        Samples, and how they are loaded: ``num_workers`` processes prepare batches ahead.
    first_step
        First step, 0-based.
    masker
        Draws the masks; by default the batches have none.
    counts_only
        Count masked and visible tokens only, for a model whose kernels draw the masks.
    ranks
        The processes that each batch is divided among.
    pin_memory
        Copy to page-locked memory, for a GPU.
    """
    workers = config.num_workers
    if workers:
        start_forkserver()
    return DataLoader(
        StepBatches(source, config, ranks, masker, counts_only),
        batch_size=None,  # a sample of the data set is a whole batch already
        sampler=range(first_step, config.steps),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="forkserver" if workers else None,  # fork is unsafe beside torch's threads
        worker_init_fn=ignore_signals,
        pin_memory=pin_memory,
    )
