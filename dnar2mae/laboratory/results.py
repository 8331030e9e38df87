"""From finished runs to a tidy table of losses, probes and variants, and from that to paired differences."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from dnar2mae.errors import RunError
from dnar2mae.laboratory.plan import CompareOptions, Law, PlannedRun
from dnar2mae.run.metrics import read_metrics
from dnar2mae.scoring.intervals import Interval

_RESAMPLES = 2000
MEAN = "mean"
"""Name of the mean over mask ratios (or tasks) beside the single ones."""


def loss_rows(cells: Sequence[PlannedRun], sample_tokens: int, anchor_stride: int) -> list[dict[str, Any]]:
    """Return the held-out loss of every finished cell at every mask ratio, one row each.

    Notes
    -----
    ``encoder_tokens`` is what the encoder saw in training: under ``mae`` the share that each step left visible, in
    expectation of its drawn ratio; empty where tokens overlap, which hides more than is masked.
    """
    rows = []
    for cell in cells:
        summary = json.loads((cell.path / "summary.json").read_text())
        ratios = np.array([row["ratio"] for row in read_metrics(cell.path) if row["event"] == "train"])
        tokens = cell.config.batch_size * sample_tokens * len(ratios)
        is_mae = cell.config.model.objective == "mae"
        shown: float | int = tokens * (1 - ratios.mean()) if is_mae else tokens
        about = about_cell(cell) | {
            "drawn_ratio": float(ratios.mean()),
            "tokens": tokens,
            "encoder_tokens": "" if is_mae and anchor_stride > 1 else round(shown),
            "seconds": summary["seconds"],
            "parameters": summary["parameters"],
        }
        for ratio, value in summary["curve"].items():
            rows.append(about | {"measure": "loss", "at": ratio, "value": value, "unit": summary["unit"]})
    return rows


def about_cell(cell: PlannedRun) -> dict[str, Any]:
    """Return the columns that describe a cell."""
    mask = cell.law.mask
    about = {"law": cell.law.name, "seed": cell.seed, "mean_ratio": cell.law.mean, "steps": cell.config.steps}
    return about | {"per": mask.per, "placement": mask.placement, "weighting": mask.weighting}


def probe_rows(cells: Sequence[PlannedRun], suite_folder: Path, out: Path, num_workers: int) -> list[dict[str, Any]]:
    """Score a logistic regression on the frozen vectors of every run, on every task of a suite.

    Raises
    ------
    RunError
        If a probe fails.
    """
    from dnar2mae.benchmarks.running.cells import ModelSpec
    from dnar2mae.benchmarks.running.options import SuiteOptions
    from dnar2mae.benchmarks.running.protocol import load_protocol
    from dnar2mae.benchmarks.running.results import Store
    from dnar2mae.benchmarks.running.runner import run_suite
    from dnar2mae.benchmarks.tasks.suite import load_suite

    suite = load_suite(str(suite_folder))
    by_name = {cell.name: cell for cell in cells}
    models = [ModelSpec(name=name, kind="checkpoint", path=str(cell.path)) for name, cell in by_name.items()]
    table = run_suite(
        suite,
        suite_folder,
        models,
        load_protocol("dnar2mae-v2"),
        Store(out),
        options=SuiteOptions(baselines=(), num_workers=num_workers),
    )
    failed = [row for row in table.rows if row["status"] != "done"]
    if failed:
        raise RunError(f"probe of {failed[0]['model']} on {failed[0]['task']}: {failed[0]['error']}")
    return [
        about_cell(by_name[row["model"]])
        | {"measure": "probe", "at": row["task"], "value": row["scores"][row["metric"]], "unit": row["metric"]}
        for row in table.rows
    ]


def variant_rows(cells: Sequence[PlannedRun], options: CompareOptions, out: Path) -> list[dict[str, Any]]:
    """Return AUROC and AUPRC of every run's scores of ``--variants``, if any, which go to ``out`` as TSV files.

    Raises
    ------
    Dnar2maeError
        As :func:`dnar2mae.variants.score_vcf`.
    """
    from dnar2mae.inference import Model
    from dnar2mae.variants import Labels, score_vcf

    if options.variants is None or options.variants_genome is None:
        return []
    labels = Labels(field=options.variants_field)
    rows = []
    for cell in cells:
        path = out / f"{cell.path.parent.name}-{cell.path.name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        model = Model.from_pretrained(cell.path, device=cell.config.device)
        report = score_vcf(model, options.variants, path, genome=options.variants_genome, labels=labels)
        for name, score in report.metrics.items():
            rows.append(about_cell(cell) | {"measure": "variants", "at": name, "value": score.value, "unit": "score"})
    return rows


def values(table: pd.DataFrame, law: Law, measure: str) -> pd.DataFrame:
    """Return the values of a law: a line a seed, a column a mask ratio or task, and their mean."""
    chosen = table[(table["law"] == law.name) & (table["measure"] == measure)]
    wide = chosen.pivot_table(index="seed", columns="at", values="value", sort=False).dropna()
    return wide.assign(**{MEAN: wide.mean(axis=1)}) if len(wide.columns) > 1 else wide


def paired(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, Interval]:
    """Return the mean difference of two laws over the seeds that both have, with 95 % bootstrap intervals.

    Parameters
    ----------
    first, second
        As :func:`values` returns them; the difference is first minus second.

    Returns
    -------
    dict
        By mask ratio or task: seeds are resampled. For the mean over tasks, tasks are resampled as well.
    """
    seeds = first.index.intersection(second.index)
    difference = first.loc[seeds] - second.loc[seeds]
    rng = np.random.default_rng(0)  # so that a report written again has the same intervals
    drawn = rng.integers(0, len(seeds), (_RESAMPLES, len(seeds)))
    intervals = {name: _interval(difference[name].to_numpy(), drawn) for name in difference.columns}
    single = difference.drop(columns=MEAN, errors="ignore")
    are_ratios = all(str(name).replace(".", "", 1).isdigit() for name in single.columns)
    if MEAN in difference and not are_ratios:
        # Mask ratios are the same for all; tasks are a sample of tasks, which adds to the uncertainty.
        tasks = rng.integers(0, single.shape[1], (_RESAMPLES, single.shape[1]))
        resampled = single.to_numpy()[drawn[:, :, None], tasks[:, None, :]].mean((1, 2))
        intervals[MEAN] = _percentiles(float(difference[MEAN].mean()), resampled)
    return intervals


def t_interval(difference: Float[np.ndarray, " S"]) -> Interval:
    """Return the 95 % interval of a mean by Student's t, NaN for one value; wider than a bootstrap of few seeds."""
    from scipy.stats import t

    mean = float(difference.mean())
    if len(difference) < 2:
        return Interval(value=mean, low=np.nan, high=np.nan)
    half = float(t.ppf(0.975, len(difference) - 1) * difference.std(ddof=1) / len(difference) ** 0.5)
    return Interval(value=mean, low=mean - half, high=mean + half)


def _interval(difference: Float[np.ndarray, " S"], drawn: np.ndarray) -> Interval:
    if len(difference) < 2:
        return Interval(value=float(difference.mean()), low=np.nan, high=np.nan)
    return _percentiles(float(difference.mean()), difference[drawn].mean(1))


def _percentiles(value: float, resampled: Float[np.ndarray, " R"]) -> Interval:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(value=value, low=float(low), high=float(high))
