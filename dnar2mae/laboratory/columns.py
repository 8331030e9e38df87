"""What is read off a run of a comparison: held-out loss by mask ratio, the area under it, predicted classes."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int

from dnar2mae.batch import FiniteSource, evenly_spaced
from dnar2mae.errors import RunError, raising
from dnar2mae.inference import TrainedModel, load
from dnar2mae.laboratory.downstream import KIND, MISSING, class_columns
from dnar2mae.laboratory.plan import PlannedRun
from dnar2mae.masking import Masker, MaskPlan, fixed_masks
from dnar2mae.run.metrics import read_metrics
from dnar2mae.run.result import RunResult
from dnar2mae.scoring.blocks import ratio_of_sums
from dnar2mae.storage.safe_files import write_whole
from dnar2mae.training.bound import FAR_CURVE, PAIRS, bound_of, sample_bounds
from dnar2mae.training.device import choose_device
from dnar2mae.training.validation import CURVE, masked_sums

RATIOS = (*CURVE, *FAR_CURVE)
"""Mask ratios of the columns ``loss``."""
LOWER_IS_BETTER = {"loss", "area"}
"""Measures of which a low value is good; of all others a high one is."""


def _asked(cell: PlannedRun) -> dict[str, Any]:
    """Return what is to be measured, so that a file of other measurements is not taken for it."""
    asked: dict[str, Any] = {"ratios": [], "labelled": None, "missing": []}
    if cell.is_trial:
        return asked
    asked["ratios"] = list(RATIOS)
    if cell.labelled is not None:
        asked |= {"labelled": asdict(cell.labelled), "missing": list(MISSING), "vectors": KIND}
    return asked


def is_measured(cell: PlannedRun) -> bool:
    """Return whether the cell has finished and all of it was measured."""
    if not (cell.columns_file.exists() and (cell.path / "summary.json").exists()):
        return False
    with raising(RunError, f"{cell.columns_file}: damaged; remove it to measure again", ValueError, KeyError):
        return bool(json.loads(cell.columns_file.read_text())["asked"] == _asked(cell))


def measure_columns(cell: PlannedRun) -> None:
    """Measure a finished run and write what was found beside it."""
    trained = load(cell.path, device=cell.config.device)
    result = RunResult.read(cell.path / "summary.json")
    rows = loss_columns(trained, () if cell.is_trial else RATIOS, result)
    if cell.labelled and not cell.is_trial:
        rows += class_columns(trained, cell.labelled)
    write_whole(cell.columns_file, json.dumps({"asked": _asked(cell), "rows": rows}, indent=1))


def loss_columns(trained: TrainedModel, ratios: Sequence[float], result: RunResult) -> list[dict[str, Any]]:
    """Return the held-out loss at mask ratios, and the area under its curve from 0 to 1.

    The samples are those of a run's own last validation, whose ``result`` has some of the values; the masks are the
    same for all runs. Of tokens the area is the bound on the model's own bits, of values their mean loss at a ratio
    that is uniform in (0, 1).
    """
    config, modality = trained.config, trained.modality
    device, autocast = choose_device(config)
    source: FiniteSource = modality.validation
    sample_ids = evenly_spaced(len(source), 2 * config.validation_windows)

    def measure(source: FiniteSource, plan: MaskPlan, ids: Int[np.ndarray, " S"]) -> Float64[np.ndarray, "6 S"]:
        with torch.autocast(device.type, autocast, enabled=autocast is not None):
            return masked_sums(trained.model, source, plan, ids)

    plan = Masker(replace(config.mask, placement="independent"), modality.vocabulary, config.seed, config.steps).plan(0)
    known = {**result.curve, **result.bound.get("curve", {})}
    losses = {}
    for ratio in map(str, ratios):
        if ratio not in known:
            loss, units, *_ = measure(source, fixed_masks(plan, float(ratio)), sample_ids)
            known[ratio] = ratio_of_sums(loss / modality.unit_size, units).value
        losses["loss", ratio] = known[ratio]
    if "value" in result.bound:
        area = result.bound["value"]
    else:
        area, _ = bound_of(sample_bounds(measure, source, plan, sample_ids, PAIRS), modality.unit_size)
    losses["area", "0 to 1"] = area
    return [{"measure": name, "at": at, "value": value, "unit": modality.unit} for (name, at), value in losses.items()]


def column_rows(cells: Sequence[PlannedRun]) -> list[dict[str, Any]]:
    """Return a row for each column of every measured cell, with what the run was and what it cost."""
    rows = []
    for cell in cells:
        about = about_cell(cell) | _effort(cell)
        rows += [about | row for row in json.loads(cell.columns_file.read_text())["rows"]]
    return rows


def about_cell(cell: PlannedRun) -> dict[str, Any]:
    """Return the columns that describe a cell."""
    mask = cell.law.mask
    about = {"setting": cell.setting, "law": cell.law.name, "seed": cell.seed, "rate": cell.rate}
    about |= {"mean_ratio": cell.law.mean, "steps": cell.config.steps}
    return about | {"per": mask.per, "placement": mask.placement, "weighting": mask.weighting}


def _effort(cell: PlannedRun) -> dict[str, Any]:
    """Return what a run cost.

    ``encoder_tokens`` is what the encoder saw in training: under ``mae`` the share that each step left visible, in
    expectation of its drawn ratio; empty where tokens overlap, which hides more than is masked.
    """
    summary = json.loads((cell.path / "summary.json").read_text())
    ratios = np.array([row["ratio"] for row in read_metrics(cell.path) if row["event"] == "train"])
    tokens = cell.config.batch_size * cell.sample_tokens * len(ratios)
    is_mae = cell.config.model.objective == "mae"
    shown = tokens * (1 - float(ratios.mean())) if is_mae else tokens
    return {
        "drawn_ratio": float(ratios.mean()),
        "tokens": tokens,
        "encoder_tokens": "" if is_mae and cell.anchor_stride > 1 else round(shown),
        "seconds": summary["seconds"],
        "parameters": summary["parameters"],
    }
