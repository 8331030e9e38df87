"""What a run imports on its way, so that a process starts in no time."""

import matplotlib.backends.backend_agg
import rich.table
import torch

torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
__all__ = ["matplotlib", "rich"]
