"""Runs and probes of text, images and cells."""

from collections.abc import Callable

from dnar2mae.benchmarks.figures.figure import Figure, Row, clear_interval, markdown, where
from dnar2mae.benchmarks.figures.tables import code

_IMAGE = ("dnar2mae/modalities/image/*.py",)
_CELL = ("dnar2mae/modalities/cell/*.py",)
_TEXT = ("dnar2mae/modalities/text/*.py",)


def _gain(row: Row) -> str:
    return clear_interval(row, "difference", "difference_low", "difference_high")


def _few_labels(rows: list[Row]) -> str:
    """Show a line a number of labels: the best raw features, random and trained models, and both differences."""
    table = []
    for number in dict.fromkeys(row["labels_per_class"] for row in rows):
        own = [row for row in rows if row["labels_per_class"] == number]
        raw = next(row for row in own if row["features"] == row["best_raw"])
        by_kind = {row["kind"]: row for row in own}
        random, trained = by_kind["random"], by_kind["checkpoint"]
        scores = [f"{row['score']:.3f}" for row in (raw, random, trained)]
        table.append([str(number), *scores, _gain(trained), _gain(random)])
    head = ["labels a class", "raw features", "random models", "pretrained", "against raw", "random against raw"]
    return markdown(head, table)


def _text_line(rows: list[Row]) -> str:
    best = rows[0]
    return f"{_losses(rows)}; {best['best_yardstick']} {best['yardstick']:.3f}"


def _losses(rows: list[Row]) -> str:
    seeds = ", ".join(str(row["seed"]) for row in rows)
    losses = "; ".join(f"{row['held_out']:.3f} ± {row['standard_error']:.3f}" for row in rows)
    return f"{losses} (seed{'s' * (len(rows) > 1)} {seeds})"


def _runs(rows: list[Row]) -> str:
    """Show a line for each data set and its settings: the seeds' losses, the best trivial model's, the untrained."""
    table = []
    for data, settings in dict.fromkeys((row["data"], row["settings"]) for row in rows):
        own = [row for row in rows if (row["data"], row["settings"]) == (data, settings)]
        best = f"{own[0]['best_yardstick']} {own[0]['yardstick']:.3f}"
        table.append([f"{data}, `{settings}`", _losses(own), best, f"{own[0]['untrained']:.2f}"])
    return markdown(["data", f"held out, {rows[0]['unit']}", "best trivial model", "untrained"], table)


_RUNS = {
    "image": ("t10k-images-idx3-ubyte.gz", (*code.CNN, *_IMAGE)),
    "cell": ("pbmc.h5ad", (*code.MLP, *_CELL)),
    "text": ("wiki.valid.raw", (*code.CNN, *_TEXT)),
}
"""A file, and what runs depend on, by modality."""


def _runs_figure(
    modality: str,
    file: str,
    files: tuple[str, ...],
    *,
    name: str = "",
    what: str = "",
    show: Callable[[list[Row]], str] = _runs,
    **chosen: str,
) -> Figure:
    return Figure(
        name=name or f"{modality}_runs",
        what=what,
        source="modality_runs.csv",
        choose=where(modality=modality, **chosen),
        key=("data", "settings", "seed"),
        show=show,
        command=f"dnar2mae pretrain --modality {modality} {file} SETTINGS --seed SEED --out runs/{modality}",
        files=(*code.RECIPE, *files),
    )


_OF_SUITE = {
    "mnist": ("digits", "cnn", "", (*code.CNN, *_IMAGE)),
    "pbmc": ("cells", "mlp", "", (*code.MLP, *_CELL)),
    "source": ("text", "cnn", " --vectors units", (*code.CNN, *_TEXT)),
}
"""Suite, recipe, further flags, and what its runs depend on, by task."""


def _few_labels_figure(name: str, task: str, show: Callable[[list[Row]], str], what: str = "", **chosen: str) -> Figure:
    suite, recipe, flags, files = _OF_SUITE[task]
    models = " ".join(f"{recipe}=runs/{recipe}{seed}" for seed in range(3))
    return Figure(
        name=name,
        what=what,
        source="few_labels.csv",
        choose=where(suite=suite, **chosen),
        key=("labels_per_class", "features"),
        show=show,
        command=f"dnar2mae benchmark few-labels suites/{suite} --model {models}{flags} --out results/few",
        files=(*code.FEW_LABELS, *code.RECIPE, *files),
    )


def _few_labels_line(task: str, what: str) -> Figure:
    def show(rows: list[Row]) -> str:
        return "; ".join(f"{row['labels_per_class']}: {row['score']:.3f}, {_gain(row)}" for row in rows)

    return _few_labels_figure(task, task, show, what, kind="checkpoint")


LINES = (
    _few_labels_line(
        "mnist",
        "MNIST, accuracy of a probe by labels a class, `cnn` against pixels ([images](modalities/image.md))",
    ),
    _few_labels_line(
        "pbmc",
        "PBMC cell types, the same, `mlp` against log expression or 50 components ([cells](modalities/cell.md))",
    ),
    _few_labels_line(
        "source", "which of two sources 40 letters are from, `cnn` against n-grams ([text](modalities/text.md))"
    ),
    _runs_figure(
        "text",
        *_RUNS["text"],
        name="wikitext",
        what="WikiText-2 as bytes, held-out bits per byte after 300 steps ([text](modalities/text.md))",
        show=_text_line,
        data="WikiText-2 validation (1.1 MB)",
        settings="--data.start '^ = [^=]' --steps 300",
    ),
)

TABLES = (
    *(_few_labels_figure(f"{task}_few_labels", task, _few_labels) for task in _OF_SUITE),
    *(_runs_figure(modality, *of) for modality, of in _RUNS.items()),
)
