"""Scores of probes on suites, paired comparisons, coverage of intervals."""

from dnar2mae.benchmarks.figures.figure import Figure, Row, clear_interval, markdown, pivot, where
from dnar2mae.benchmarks.figures.tables import code

_KINDS = {"kmer": "k-mer counts", "cnn": "small CNN", "random": "random weights", "checkpoint": "pretrained"}


def _score(row: Row) -> str:
    interval = f" [{row['low']:.3f}, {row['high']:.3f}]" if row["low"] != "" else ""
    sd = f" ± {row['sd']:.3f}" if row["sd"] != "" else ""
    return f"{row['score']:.3f}{sd}{interval}"


def _gain(row: Row) -> str:
    return f"{clear_interval(row, 'difference', 'low', 'high')} against {row['against']}"


def _comparison(name: str, suite: str, what: str, command: str, files: tuple[str, ...]) -> Figure:
    return Figure(
        name=name,
        what=what,
        source="comparisons.csv",
        choose=where(suite=suite),
        key=("model", "against"),
        show=lambda rows: "; ".join(map(_gain, rows)) + f"; mean over {rows[0]['num_tasks']} tasks",
        command=command,
        files=files,
    )


def _built(rows: list[Row]) -> str:
    found = {(row["task"], row["suite"]): row for row in rows}
    table = [
        [f"`{task}`", *(_cell(found.get((task, suite))) for suite in _BUILT)]
        for task in ("promoter", "coding", "splice", "gene_start", "strand")
    ]
    return markdown(["task", *_BUILT.values()], table)


def _cell(row: Row | None) -> str:
    if row is None:
        return "-"
    return f"{_score(row)}, {row['num_train'] // 2:,} / {row['num_test'] // 2:,}"


_BUILT = {
    "ecoli": "*E. coli* K-12, GFF3",
    "worm": "worm sample, GFF3",
    "yeast_orfs": "yeast, BED of ORFs",
    "yeast_tss": "yeast, BED of transcripts",
}
_ANNOTATED = (
    "dnar2mae benchmark build --genome ecoli.fna.gz --annotation ecoli.gff.gz --out ecoli; "
    "dnar2mae benchmark run ecoli --model runs/ecoli --baselines random kmer --seeds 3 --precision bf16 --out results"
)
_GUE = (
    "dnar2mae benchmark run gue --data GUE --model ecoli=runs/ecoli --seeds 1 --precision bf16 --workers 2 "
    "--out results/gue"
)
_GUE_FILES = (*code.PROBE, "benchmarks/models/cnn.py", *code.RECIPE, *code.CNN)
_ANNOTATED_FILES = (*code.PROBE, "benchmarks/build/*.py", *code.RECIPE, *code.CNN)

LINES = (
    _comparison(
        "annotation_gain",
        "ecoli",
        "its probes on [tasks built from the annotation](docs/benchmarks.md), paired differences of MCC",
        _ANNOTATED,
        _ANNOTATED_FILES,
    ),
    _comparison(
        "gue_gain",
        "gue",
        "its probes on [GUE sets](docs/benchmarks.md) of human and mouse, paired differences of MCC",
        _GUE,
        _GUE_FILES,
    ),
)

TABLES = (
    Figure(
        name="gue",
        source="gue_ecoli.csv",
        choose=lambda row: row["method"] in ("probe", "scratch"),
        key=("task", "kind"),
        show=pivot("task", "task", "kind", _score, _KINDS),
        command=_GUE,
        files=_GUE_FILES,
    ),
    Figure(
        name="gue_finetuned",
        source="gue_ecoli.csv",
        choose=where(task="prom/prom_core_tata", protocol="gue/dnabert2-v1"),
        key=("method", "kind"),
        show=pivot("method", "method", "kind", _score, {kind: _KINDS[kind] for kind in ("random", "checkpoint")}),
        command=f"{_GUE} --protocol gue/dnabert2-v1",
        files=("benchmarks/running/training.py", "benchmarks/models/encoder.py", *code.RECIPE, *code.CNN),
    ),
    Figure(
        name="annotation_suites",
        source="annotation_suites.csv",
        key=("suite", "task", "kind"),
        show=pivot("task", "task", "kind", _score, {kind: _KINDS[kind] for kind in ("kmer", "random", "checkpoint")}),
        command=_ANNOTATED,
        files=_ANNOTATED_FILES,
    ),
    Figure(
        name="built_kmers",
        source="built_kmers.csv",
        choose=where(suite=tuple(_BUILT)),
        key=("suite", "task"),
        show=_built,
        command="dnar2mae benchmark run FOLDER --baselines kmer",
        files=(*code.PROBE, "benchmarks/build/*.py"),
    ),
    Figure(
        name="coverage",
        source="coverage.csv",
        key=("rows", "share_positive", "effect", "metric"),
        show=lambda rows: pivot(
            "test rows, share of positives, effect",
            "scene",
            "metric",
            "{coverage:.3f}",
            {
                "mcc": "MCC",
                "accuracy": "accuracy",
                "auroc": "AUROC",
                "auprc": "AUPRC",
                "mcc, difference": "difference of two MCCs",
            },
        )([{**row, "scene": f"{row['rows']:,}, {row['share_positive']}, {row['effect']}"} for row in rows]),
        command="python -m dnar2mae.benchmarks.coverage",
        files=("benchmarks/coverage.py", "dnar2mae/scoring/intervals.py", "dnar2mae/scoring/scores.py"),
    ),
)
