"""From finished runs to a tidy table, paired differences, and a report in words, tables and a figure."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from dnar2mae.errors import RunError
from dnar2mae.laboratory.plan import CompareOptions, Law, PlannedRun
from dnar2mae.plots.figure import new_figure, save_figure
from dnar2mae.run.metrics import read_metrics
from dnar2mae.scoring.intervals import Interval
from dnar2mae.storage.safe_files import write_whole

_RESAMPLES = 2000
MEAN = "mean"
"""Name of the mean over mask ratios (or tasks) beside the single ones."""
_LOWER_IS_BETTER = {"loss": True, "probe": False, "variants": False}


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

    The differences are first minus second, by mask ratio or task: seeds are resampled. For the mean over tasks, tasks
    are resampled as well.
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


def write_report(
    table: pd.DataFrame, laws: Sequence[Law], added: Sequence[Law], about: Sequence[str], out: Path
) -> None:
    """Write ``report.md``, with lines ``about`` the runs and the names of the laws ``added``, and ``compare.png``."""
    lines = ["# Mask laws compared", "", *about, ""]
    if added:
        lines += [f"Added as controls, the fixed ratio at a law's mean: {', '.join(f'`{law.name}`' for law in added)}."]
        lines += [""]
    for measure in table["measure"].unique():
        lines += [*_levels(table, laws, measure), "", *_differences(table, laws, measure), ""]
    lines += [*_effort(table, laws), "", "![Curves](compare.png)", ""]
    write_whole(out / "report.md", "\n".join(lines))
    draw(table, laws, out / "compare.png")


def pairs(laws: Sequence[Law]) -> list[tuple[Law, Law]]:
    """Pair each law with its own control, and with that of the first law whose ratio varies."""
    reference = reference_of(laws)
    controls = [(law, law.control) for law in laws if law.control.name != law.name]
    return controls + [(law, reference) for law in laws if reference.name not in (law.name, law.control.name)]


def reference_of(laws: Sequence[Law]) -> Law:
    """Return the fixed ratio at the mean of the first law that varies; the first law where none does."""
    return next((law.control for law in laws if law.control is not law), laws[0])


def _levels(table: pd.DataFrame, laws: Sequence[Law], measure: str) -> list[str]:
    unit = table[table["measure"] == measure]["unit"].iloc[0]
    by_law = [(law, values(table, law, measure)) for law in laws]
    columns = list(by_law[0][1].columns)
    what = {"loss": f"Held-out loss, {unit}, by mask ratio of the evaluation", "probe": "Probes by task"}
    rows = [
        [f"`{law.name}`", str(len(wide)), *(_level(wide[name].to_numpy()) for name in columns)] for law, wide in by_law
    ]
    note = "Mean over seeds ± their standard deviation. Evaluation masks are the same for all runs."
    return [f"## {what.get(measure, f'{measure}, {unit}')}", "", note, "", *_table(["law", "seeds", *columns], rows)]


def _differences(table: pd.DataFrame, laws: Sequence[Law], measure: str) -> list[str]:
    rows, columns = [], []
    for law, control in pairs(laws):
        first, second = values(table, law, measure), values(table, control, measure)
        seeds = first.index.intersection(second.index)
        differences = paired(first, second)
        columns = list(differences)
        last = (first.loc[seeds] - second.loc[seeds])[columns[-1]].to_numpy()
        better = (last < 0) if _LOWER_IS_BETTER[measure] else (last > 0)
        student = t_interval(last)
        rows.append(
            [f"`{law.name}`", f"`{control.name}`", *(_difference(differences[name]) for name in columns)]
            + [f"{student.low:+.4f} to {student.high:+.4f}", f"{better.sum()} of {len(seeds)}"]
        )
    better_is = "Negative: the law is better" if _LOWER_IS_BETTER[measure] else "Positive: the law is better"
    return [
        f"### Paired differences ({measure})",
        "",
        f"{better_is} than what it is compared with, on the same windows from the same initial weights. In brackets: "
        "95 % bootstrap interval over seeds"
        + (", of the mean over seeds and tasks" if measure == "probe" else "")
        + ". "
        "With few seeds the bootstrap is too narrow (of three values it cannot exceed their range); the "
        "interval by Student's t beside it is of the last difference. Many differences are shown: some intervals leave "
        "0 by chance.",
        "",
        *_table(["law", "against", *columns, f"{columns[-1]}, Student's t", "seeds better"], rows),
    ]


def _effort(table: pd.DataFrame, laws: Sequence[Law]) -> list[str]:
    rows = []
    for law in laws:
        cells = table[table["law"] == law.name].drop_duplicates("seed").dropna(subset=["tokens"])
        shown = pd.to_numeric(cells["encoder_tokens"], errors="coerce").mean()
        rows.append(
            [f"`{law.name}`", f"{cells['steps'].iloc[0]:,}", f"{cells['tokens'].mean():,.0f}"]
            + ["not known" if np.isnan(shown) else f"{shown:,.0f}"]
            + [f"{cells['mean_ratio'].iloc[0]:.3f}", f"{cells['drawn_ratio'].mean():.3f}"]
            + [f"{cells['seconds'].mean():.0f}"]
        )
    heads = ["law", "steps", "tokens", "encoder tokens", "mean ratio", "ratio drawn", "seconds"]
    return ["## Cost of each run", "", "Means over seeds.", "", *_table(heads, rows)]


def draw(table: pd.DataFrame, laws: Sequence[Law], path: Path) -> None:
    """Plot loss by mask ratio, and the paired difference to the reference with bootstrap intervals."""
    figure = new_figure(10.0, 4.2)
    left, right = figure.subplots(1, 2)
    reference = reference_of(laws)
    base = values(table, reference, "loss")
    names = [name for name in base.columns if name != MEAN]
    ratios = np.array(names, float)
    width = 0.006  # of mask ratio between two laws, so that their error bars do not hide one another
    for number, law in enumerate(laws):
        wide = values(table, law, "loss")
        look: dict[str, Any] = {"color": f"C{number % 10}", "marker": "o", "ms": 3, "lw": 1}
        left.plot(ratios, wide[names].mean(), label=law.name, **look)
        if law.name == reference.name:
            continue
        differences = [paired(wide, base)[name] for name in names]
        middle = np.array([d.value for d in differences])
        spread = np.abs(np.array([[d.low, d.high] for d in differences]).T - middle)
        shifted = ratios + width * (number - len(laws) / 2)
        right.errorbar(shifted, middle, None if np.isnan(spread).any() else spread, capsize=2, **look)
    right.axhline(0, color="0.5", lw=0.8)
    unit = table["unit"].iloc[0]
    left.set(xlabel="mask ratio of the evaluation", ylabel=f"held-out loss, {unit}", title="Loss by mask ratio")
    right.set(xlabel="mask ratio of the evaluation", ylabel=f"difference, {unit}")
    right.set_title(
        f"Paired difference to {reference.name}\n(95 % bootstrap over seeds; below 0 is better)", fontsize=9
    )
    figure.legend(loc="outside lower center", ncols=4, fontsize=7, frameon=False)
    save_figure(figure, path)


def _level(seeds: np.ndarray) -> str:
    return f"{seeds.mean():.4f}" + (f" ± {seeds.std(ddof=1):.4f}" if len(seeds) > 1 else "")


def _difference(difference: Interval) -> str:
    bounds = "1 seed" if np.isnan(difference.low) else f"{difference.low:+.4f}, {difference.high:+.4f}"
    return f"{difference.value:+.4f} [{bounds}]"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)]
