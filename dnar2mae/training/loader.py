"""The batch of each step, prepared ahead of the loop."""

import numpy as np
from torch.utils.data import DataLoader, Dataset

from dnar2mae.batch import Batch, Source
from dnar2mae.config import PretrainConfig
from dnar2mae.distributed import ALONE, Ranks
from dnar2mae.training.stopping import ignore_signals, start_forkserver


class StepBatches(Dataset):
    """The batch of each step: samples ``step * batch_size`` to ``(step + 1) * batch_size``, or a rank's share."""

    def __init__(self, source: Source, batch_size: int, ranks: Ranks) -> None:
        self.source, self.batch_size, self.ranks = source, batch_size, ranks

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of a step."""
        size = self.batch_size // self.ranks.size
        first = step * self.batch_size + self.ranks.rank * size
        return self.source.batch(np.arange(first, first + size))


def batches(
    source: Source, config: PretrainConfig, first_step: int, *, pin_memory: bool = False, ranks: Ranks = ALONE
) -> DataLoader:
    """Return the batches of the steps from ``first_step`` on, prepared ahead by ``num_workers`` processes."""
    workers = config.num_workers
    if workers:
        start_forkserver()
    return DataLoader(
        StepBatches(source, config.batch_size, ranks),
        batch_size=None,  # a sample of the data set is a whole batch already
        sampler=range(first_step, config.steps),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="forkserver" if workers else None,  # fork is unsafe beside torch's threads
        worker_init_fn=ignore_signals,
        pin_memory=pin_memory,
    )
