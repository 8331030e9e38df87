"""Runs and probes of text, images and cells."""

from collections.abc import Callable

from dnar2mae.benchmarks.figures.figure import Figure, Row, clear_interval, lines, markdown, where
from dnar2mae.benchmarks.figures.tables import code

_IMAGE = ("dnar2mae/modalities/image/*.py",)
_CELL = ("dnar2mae/modalities/cell/*.py",)
_PRETRAIN_CELLS = (
    "dnar2mae pretrain --modality cell pbmc.h5ad --data.encoding whole --model.backbone mlp --model.depth 2 --steps 300"
)
_TEXT = ("dnar2mae/modalities/text/*.py",)


def _interval(row: Row, name: str) -> str:
    return f"{row[name]:.3f} [{row[f'{name}_low']:.3f}, {row[f'{name}_high']:.3f}]"


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
    return ", ".join(f"{row['held_out']:.3f} (best Markov model {row['best_markov']:.3f})" for row in rows)


_OF_SUITE = {
    "mnist": ("digits", "cnn", (*code.CNN, *_IMAGE)),
    "pbmc": ("cells", "mlp", (*code.MLP, *_CELL)),
    "source": ("text", "cnn", (*code.CNN, *_TEXT)),
}
"""Suite, recipe, and what its runs depend on, by task."""


def _few_labels_figure(name: str, task: str, show: Callable[[list[Row]], str], what: str = "", **chosen: str) -> Figure:
    suite, recipe, files = _OF_SUITE[task]
    models = " ".join(f"{recipe}=runs/{recipe}{seed}" for seed in range(3))
    return Figure(
        name=name,
        what=what,
        source="few_labels.csv",
        choose=where(suite=suite, **chosen),
        key=("labels_per_class", "features"),
        show=show,
        command=f"dnar2mae benchmark few-labels suites/{suite} --model {models} --out results/few",
        files=(*code.FEW_LABELS, *code.RECIPE, *files),
    )


def _few_labels_line(task: str, what: str) -> Figure:
    def show(rows: list[Row]) -> str:
        return "; ".join(f"{row['labels_per_class']}: {row['score']:.3f}, {_gain(row)}" for row in rows)

    return _few_labels_figure(task, task, show, what, kind="checkpoint")


LINES = (
    _few_labels_line(
        "mnist",
        "MNIST, accuracy of a probe by labels a class, `cnn` against pixels ([images](docs/modalities/image.md))",
    ),
    _few_labels_line(
        "pbmc",
        "PBMC cell types, the same, `mlp` against log expression or 50 components ([cells](docs/modalities/cell.md))",
    ),
    _few_labels_line(
        "source", "which of two sources 40 letters are from, `cnn` against n-grams ([text](docs/modalities/text.md))"
    ),
    Figure(
        name="wikitext",
        what="WikiText-2 as bytes, held-out bits per byte after 300 steps ([text](docs/modalities/text.md))",
        source="text_runs.csv",
        choose=where(text="WikiText-2 validation (1.1 MB)", settings="--data.start '^ = [^=]' --steps 300"),
        key=("seed",),
        show=_text_line,
        command="dnar2mae pretrain --modality text wiki.valid.raw --data.start '^ = [^=]' --steps 300 --out runs/wiki",
        files=(*code.RECIPE, *code.CNN, *_TEXT),
    ),
)

TABLES = (
    *(_few_labels_figure(f"{task}_few_labels", task, _few_labels) for task in _OF_SUITE),
    Figure(
        name="image_runs",
        source="image_runs.csv",
        key=("backbone", "objective", "settings", "seed"),
        show=lines(
            {
                "model": "`{backbone}`, `{objective}`, `{settings}`",
                "CPU time": "{cpu_seconds} s",
                "held out": "{held_out:.3f}",
                "probe": lambda row: _interval(row, "probe"),
                "random weights": "{random_probe:.3f}",
                "k-NN": lambda row: _interval(row, "knn"),
                "random weights, k-NN": "{random_knn:.3f}",
            }
        ),
        command="dnar2mae benchmark run suites/digits --model runs/mnist --method probe knn --seeds 3 --out results",
        files=(*code.PROBE, *code.RECIPE, *code.CNN, *code.TRANSFORMER, *code.MLP, *_IMAGE),
    ),
    Figure(
        name="cell_runs",
        source="cell_runs.csv",
        key=("data", "settings", "seed"),
        show=lines(
            {
                "data": "{data}",
                "settings": "`{settings}`, seed {seed}, {dtype}",
                "CPU time": "{cpu_seconds} s",
                "held out": "{held_out:.3f}",
                "mean expression": "{mean_expression:.3f}",
                "zero": "{zero:.3f}",
            }
        ),
        command=_PRETRAIN_CELLS,
        files=(*code.RECIPE, *code.MLP, *_CELL),
    ),
    Figure(
        name="text_runs",
        source="text_runs.csv",
        key=("text", "settings", "tokens", "seed"),
        show=lines(
            {
                "text": "{text}, `{settings}`",
                "tokens": "{tokens}",
                "this model": "{held_out:.3f}",
                "token unigram": "{unigram:.3f}",
                "Markov order 1": "{markov_1:.3f}",
                "best Markov": "{best_markov:.3f} (order {best_order})",
                "untrained": lambda row: "-" if row["untrained"] == "" else f"{row['untrained']:.3f}",
            }
        ),
        command="dnar2mae pretrain --modality text FILE --out runs/text",
        files=(*code.RECIPE, *code.CNN, *_TEXT),
    ),
)
