"""What a grid costs, before it starts: runs, tokens, and hours by a few timed steps."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dnar2mae.config import PretrainConfig
from dnar2mae.distributed import ALONE
from dnar2mae.laboratory.grid import Grid, check_grid, grid_cells, trial_cells
from dnar2mae.laboratory.plan import CompareOptions, PlannedRun
from dnar2mae.masking import Masker
from dnar2mae.modalities.registry import build_modality
from dnar2mae.training.build import build_model
from dnar2mae.training.device import choose_device
from dnar2mae.training.loader import batches
from dnar2mae.training.step import TrainingStep

_WARM, _TIMED = 2, 4  # steps: the first ones compile kernels and fill caches


def describe_cost(grid: Grid, out: Path, options: CompareOptions) -> str:
    """Return a line a setting and one for all: runs, tokens, seconds a step and hours of training on this machine.

    Reading off, which is not timed, adds to it, in short runs as much as the training.

    Raises
    ------
    Dnar2maeError
        If a cell cannot run.
    """
    check_grid(grid, "the grid")
    cells = [*trial_cells(grid, out, options), *grid_cells(grid, out, options)]
    lines, hours = [], 0.0
    for setting in grid.settings:
        own = [cell for cell in cells if cell.setting == setting.name]
        seconds = time_step(replace(own[0].config, steps=_WARM + _TIMED))
        of_setting = seconds * sum(cell.config.steps for cell in own) / 3600
        hours += of_setting
        name = f"{setting.name}: " if setting.name else ""
        lines.append(f"{name}{_count(own)}, {seconds:.3g} s a step, {of_setting:.3g} hours")
    device, _ = choose_device(grid.settings[0].config)
    lines.append(
        f"in all: {_count(cells)}, {hours:.3g} hours of training one run after the other on {device.type} "
        f"({os.cpu_count()} cores), and the time to measure each run"
    )
    return "\n".join(lines)


def _count(cells: Sequence[PlannedRun]) -> str:
    tokens = sum(cell.config.steps * cell.config.batch_size * cell.sample_tokens for cell in cells)
    return f"{len(cells):,} runs, {tokens:,} tokens"


def time_step(config: PretrainConfig) -> float:
    """Return the seconds of a training step, the mean of a few."""
    device, autocast = choose_device(config)
    modality = build_modality(config)
    model = build_model(config, modality, device, sharded=False)
    masker = Masker(config.mask, modality.vocabulary, config.seed, config.steps, modality.train)
    step = TrainingStep(config, model, masker, unit_size=modality.unit_size, autocast=autocast, ranks=ALONE)
    begun = 0.0
    for number, batch in enumerate(batches(modality.train, config, 0, masker=masker)):
        if number == _WARM:
            begun = time.monotonic()
        row = step(number, batch)
        if number == _WARM + _TIMED - 1:
            _ = [float(value) for value in row.values() if hasattr(value, "item")]  # waits for the device
    return (time.monotonic() - begun) / _TIMED
