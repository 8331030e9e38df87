"""Scores of probes on suites, paired comparisons, coverage of intervals."""

from collections.abc import Callable, Mapping

from dnar2mae.benchmarks.figures.figure import Figure, Row, clear_interval, pivot, where
from dnar2mae.benchmarks.figures.tables import code

_KINDS = {
    "raw": "k-mer counts",
    "random": "random weights",
    "checkpoint": "pretrained",
    "combined": "k-mer counts and pretrained",
}
_SAYS = {
    "vectors in place of raw features": "pretrained against k-mer counts",
    "what pretraining adds": "pretrained against random weights",
    "what the embedding adds": "both against k-mer counts",
}


def _score(row: Row) -> str:
    interval = f" [{row['low']:.3f}, {row['high']:.3f}]" if row["low"] != "" else ""
    sd = f" ± {row['sd']:.3f}" if row["sd"] != "" else ""
    return f"{row['score']:.3f}{sd}{interval}"


def _gain(row: Row) -> str:
    return clear_interval(row, "difference", "low", "high")


def _by_place(column: str, cell: Callable[[Row], str], titles: Mapping[str, str]) -> Callable[[list[Row]], str]:
    """Return a way to show rows of several suites, a line for each task."""
    show = pivot("suite, task", "place", column, cell, titles)
    return lambda rows: show([{**row, "place": f"{row['suite']}, {row['task']}"} for row in rows])


def _mean_gains(name: str, suites: tuple[str, ...], what: str, command: str, files: tuple[str, ...]) -> Figure:
    def show(rows: list[Row]) -> str:
        return "; ".join(
            f"{row['suite']}, {row['num_tasks']} tasks: {_gain(row)} against {row['against'].removesuffix(', probe')}"
            for row in rows
        )

    return Figure(
        name=name,
        what=what,
        source="comparisons.csv",
        choose=where(suite=suites, task="all", says=tuple(_SAYS)[:2]),
        key=("suite", "says"),
        show=show,
        command=command,
        files=files,
    )


_ANNOTATED = (
    "dnar2mae benchmark build --genome ecoli.fna.gz --annotation ecoli.gff.gz --out ecoli; "
    "dnar2mae benchmark run ecoli --model ecoli=runs/0 ecoli=runs/1 ecoli=runs/2 --precision bf16 "
    "--baselines random raw combined --out results "
    "(yeast alike; worm: build with --inside-bp 100; pretrain worm.fa.gz yeast.fa.gz --data.weights 1 2 --steps 6000; "
    "run with --tasks coding gene_start promoter strand --folds 5)"
)
_GUE = (
    "dnar2mae pretrain hg19_chr1_1-3004950.fa.gz z.fa.gz --steps 3000 --out runs/human; "
    "dnar2mae benchmark run gue --data GUE --tasks prom/prom_core_tata tf/0 mouse/0 mouse/4 --model runs/human "
    "--precision bf16 --baselines random raw combined --out results/gue"
)
_GENOMES = ("ecoli", "worm", "yeast")
_OLDER = "splice"  # its rows are of models of before: in folds, a probe of three classes takes half an hour
_PROBE_FILES = (*code.PROBE, *code.RECIPE, *code.CNN)
_GUE_FILES = (*_PROBE_FILES, "benchmarks/protocols/dnar2mae-v4.yaml")
_ANNOTATED_FILES = (
    *_PROBE_FILES,
    "benchmarks/protocols/dnar2mae-v4.yaml",
    "benchmarks/build/*.py",
    "benchmarks/tasks/data.py",
)


def _scores(name: str, suites: tuple[str, ...], command: str, files: tuple[str, ...]) -> Figure:
    chosen = where(suite=suites)
    return Figure(
        name=name,
        source="probes.csv",
        choose=lambda row: chosen(row) and row["task"] != _OLDER,
        key=("suite", "task", "kind"),
        show=_by_place("kind", _score, _KINDS),
        command=command,
        files=files,
    )


def _gains(name: str, suites: tuple[str, ...], command: str, files: tuple[str, ...]) -> Figure:
    chosen = where(suite=suites, says=tuple(_SAYS))
    return Figure(
        name=name,
        source="comparisons.csv",
        choose=lambda row: chosen(row) and row["task"] not in ("all", _OLDER),
        key=("suite", "task", "says"),
        show=_by_place("says", _gain, _SAYS),
        command=command,
        files=files,
    )


LINES = (
    _mean_gains(
        "annotation_gain",
        _GENOMES,
        "probes of three runs each (*E. coli*, yeast: default ones) on "
        "[tasks built from the annotation](benchmarks.md), paired differences of MCC",
        _ANNOTATED,
        _ANNOTATED_FILES,
    ),
    _mean_gains(
        "gue_gain",
        ("gue",),
        "probes of a run on 3.8 Mb of human sequence on [GUE sets](benchmarks.md), paired differences of MCC",
        _GUE,
        _GUE_FILES,
    ),
)

TABLES = (
    _scores("gue", ("gue",), _GUE, _GUE_FILES),
    _gains("gue_gains", ("gue",), _GUE, _GUE_FILES),
    _scores("annotation_suites", _GENOMES, _ANNOTATED, _ANNOTATED_FILES),
    _gains("annotation_gains", _GENOMES, _ANNOTATED, _ANNOTATED_FILES),
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
