"""``dnar2mae benchmark few-labels``: what it runs, prints and writes."""

from pathlib import Path
from typing import Any

from dnar2mae.benchmarks.reporting.console import model_specs, print_table
from dnar2mae.benchmarks.running.few_labels import FewLabels, compare_few_labels
from dnar2mae.benchmarks.running.options import JudgedModels
from dnar2mae.errors import ConfigError
from dnar2mae.scoring.intervals import SMALL_CLASS, SMALL_CLASS_NOTE
from dnar2mae.storage.safe_files import written_whole

FILE = "few_labels.csv"


def compare_and_print(
    suite_name: str, out: Path, models: JudgedModels, options: FewLabels, *, data: Path | None, tasks: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Compare on every task that the data folder has; print tables, write the CSV file; return its rows."""
    import numpy as np
    import pandas as pd

    from dnar2mae.benchmarks.running.feature_sets import feature_sets
    from dnar2mae.benchmarks.tasks.data import find_task
    from dnar2mae.benchmarks.tasks.suite import load_suite

    suite, root = load_suite(suite_name).select(tasks), data or Path(suite_name)
    specs, rows_of_all = model_specs(models), []
    for task in suite.tasks:
        folder = find_task(suite, task, root)
        if folder is None:
            print(f"Skipped {task.name}: not in {root}: no data in a folder {task.name}")
            continue
        rows, features = feature_sets(task, folder, specs, options)
        table = compare_few_labels(features, rows, task.metric, options)
        smallest = int(np.bincount(rows.labels if options.folds else rows.labels[rows.is_test]).min())
        if smallest < SMALL_CLASS:
            print(
                f"{task.name}: {smallest} test rows of the rarest class, fewer than {SMALL_CLASS}: {SMALL_CLASS_NOTE}"
            )
        print_table(f"{task.name}: {task.metric}", list(map(_cells, table)))
        rows_of_all += [{"suite": suite.name, "task": task.name, **row} for row in table]
    if not rows_of_all:
        raise ConfigError(f"{root}: has none of the {len(suite.tasks)} data sets of suite {suite.name}")
    print("Intervals: over test rows, of means over draws and models. sd: over draws and models.")
    print("Differences are paired, to the raw features that are best at that number of labels on the test rows.")
    out.mkdir(parents=True, exist_ok=True)
    with written_whole(out / FILE) as partial:
        pd.DataFrame(rows_of_all).to_csv(partial, index=False, float_format="%.6g")
    print(f"Wrote {out / FILE}")
    return rows_of_all


def _cells(row: dict[str, Any]) -> dict[str, str]:
    difference = "best raw"
    if "difference" in row:
        difference = f"{row['difference']:+.3f} [{row['difference_low']:+.3f}, {row['difference_high']:+.3f}]"
    return {
        "labels a class": str(row["labels_per_class"]),
        "features": row["features"],
        "score, 95 % interval": f"{row['score']:.3f} [{row['low']:.3f}, {row['high']:.3f}]",
        "sd": f"{row['sd_draws']:.3f}",
        "difference to raw": difference,
        "C": f"{row['c']:g}",
        "at edge": f"{row['at_edge']}/{row['fits']}",
        "unconverged": f"{row['not_converged']}/{row['fits']}",
    }
