"""What a grid costs, before it starts: runs, tokens, and hours by a few timed steps."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from dnar2mae.config import PretrainConfig
from dnar2mae.distributed import ALONE
from dnar2mae.laboratory.grid import LawGrid, check_grid, check_labels, grid_cells, trial_cells
from dnar2mae.laboratory.plan import CompareOptions, PlannedRun
from dnar2mae.masking import Masker
from dnar2mae.modalities.registry import build_modality
from dnar2mae.training.build import build_model
from dnar2mae.training.device import choose_device
from dnar2mae.training.loader import batches
from dnar2mae.training.step import TrainingStep

_WARM, _TIMED = 3, 9  # steps: the first ones compile kernels and fill caches
_MOST_S = 5.0  # seconds to spend on a setting, once two steps are done: the first one alone says little


def describe_cost(grid: LawGrid, out: Path, options: CompareOptions) -> Iterator[str]:
    """Yield a line a setting and one for all: runs, tokens, seconds a step and hours of training on this machine.

    What is measured of each run is not timed; in short runs it takes up to half as long as the training. Workers beyond
    the cores make nothing faster.

    Raises
    ------
    Dnar2maeError
        If a cell cannot run.
    """
    check_grid(grid)
    check_labels(grid)
    cells = [*trial_cells(grid, out, options), *grid_cells(grid, out, options)]
    cores = torch.get_num_threads()
    torch.set_num_threads(max(cores // options.num_workers, 1))  # as each worker will have
    hours = 0.0
    for setting in grid.settings:
        own = [cell for cell in cells if cell.setting == setting.name]
        seconds = time_step(replace(own[0].config, steps=_WARM + _TIMED))
        of_setting = seconds * sum(cell.config.steps for cell in own) / 3600
        hours += of_setting
        name = f"{setting.name}: " if setting.name else ""
        yield f"{name}{_count(own)}, {seconds:.3g} s a step, {of_setting:.3g} hours"
    device, _ = choose_device(grid.settings[0].config)
    apart = min(options.num_workers, cores) if device.type == "cpu" else 1  # runs that share a GPU take turns
    yield (
        f"in all: {_count(cells)}, {hours / apart:.3g} hours of training by {options.num_workers} workers on "
        f"{device.type}, and up to half of that to measure the runs"
    )


def _count(cells: Sequence[PlannedRun]) -> str:
    tokens = sum(cell.config.steps * cell.config.batch_size * cell.sample_tokens for cell in cells)
    return f"{len(cells):,} runs, {tokens:,} tokens"


def time_step(config: PretrainConfig) -> float:
    """Return the seconds of a training step: the shortest of a few after the first, which other programs slow least."""
    device, autocast = choose_device(config)
    modality = build_modality(config)
    model = build_model(config, modality, device, sharded=False)
    masker = Masker(config.mask, modality.vocabulary, config.seed, config.steps, modality.train)
    step = TrainingStep(config, model, masker, unit_size=modality.unit_size, autocast=autocast, ranks=ALONE)
    seconds, begun = [], _clocks()
    for number, batch in enumerate(batches(modality.train, config, 0, masker=masker)):
        step(number, batch)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        ended = _clocks()
        wall, own = (after - before for after, before in zip(ended, begun, strict=True))
        # where other programs hold the cores, the time of this one's threads says more than the clock
        seconds.append(min(wall, own) if device.type == "cpu" else wall)
        begun = ended
        if number and sum(seconds) > _MOST_S:
            break
    return min(seconds[_WARM:] or seconds[1:] or seconds)


def _clocks() -> tuple[float, float]:
    """Return the time and this process's own, in seconds."""
    return time.monotonic(), time.process_time()
