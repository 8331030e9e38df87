"""Further judges of the runs of a comparison: probes on a benchmark suite, and scores of labelled variants."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dnar2mae.errors import RunError
from dnar2mae.laboratory.columns import about_cell
from dnar2mae.laboratory.plan import CompareOptions, PlannedRun


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
