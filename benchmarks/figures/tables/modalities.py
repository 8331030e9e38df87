"""Runs and probes of text, images and cells."""

from dnar2mae.benchmarks.figures.figure import Figure, Row, clear_interval, lines, markdown, where
from dnar2mae.benchmarks.figures.tables import code

_IMAGE = ("dnar2mae/modalities/image/*.py",)
_CELL = ("dnar2mae/modalities/cell/*.py",)
_PRETRAIN_CELLS = (
    "dnar2mae pretrain --modality cell pbmc.h5ad --data.encoding whole --model.backbone mlp --model.depth 2 --steps 300"
)
_FEW_LABELS = (
    "dnar2mae benchmark few-labels suites/digits --model cnn=runs/cnn0 cnn=runs/cnn1 cnn=runs/cnn2 --out results/few"
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


def _gain_of_cells(row: Row) -> str:
    return clear_interval(row, "gain", "gain_low", "gain_high")


def _cell_probes(rows: list[Row]) -> str:
    table = []
    for probe in dict.fromkeys(row["probe"] for row in rows):
        own = [row for row in rows if row["probe"] == probe]
        trained = [row for row in own if row["features"] == "pretrained"]
        random = [row for row in own if row["features"] == "random weights"]
        scores = ", ".join(f"{row['score']:.3f} [{row['low']:.3f}, {row['high']:.3f}]" for row in trained)
        gains = ", ".join(_gain_of_cells(row) for row in trained)
        table.append([probe, scores, ", ".join(f"{row['score']:.3f}" for row in random), gains])
    return markdown(
        ["probe", "pretrained, by seed", "random weights, by seed", "paired gain on three random models"], table
    )


def _text_line(rows: list[Row]) -> str:
    return ", ".join(f"{row['held_out']:.3f} (best Markov model {row['best_markov']:.3f})" for row in rows)


LINES = (
    Figure(
        name="mnist",
        what="MNIST, accuracy of a probe by labels a class, `cnn` against pixels ([images](docs/modalities/image.md))",
        source="few_labels.csv",
        choose=where(suite="digits", kind="checkpoint"),
        key=("labels_per_class",),
        show=lambda rows: "; ".join(f"{row['labels_per_class']}: {row['score']:.3f}, {_gain(row)}" for row in rows),
        command=_FEW_LABELS,
        files=(*code.FEW_LABELS, *code.RECIPE, *code.CNN, *_IMAGE),
    ),
    Figure(
        name="pbmc",
        what="PBMC cell types, accuracy of a probe, gain of an MLP on random ones ([cells](docs/modalities/cell.md))",
        source="cell_probes.csv",
        choose=where(probe="logistic regression, C = 0.01", features="pretrained"),
        key=("seed",),
        show=lambda rows: "; ".join(f"seed {row['seed']}: {row['score']:.3f}, {_gain_of_cells(row)}" for row in rows),
        command=_PRETRAIN_CELLS,
        files=(*code.RECIPE, *code.MLP, *_CELL),
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
    Figure(
        name="mnist_few_labels",
        source="few_labels.csv",
        choose=where(suite="digits"),
        key=("labels_per_class", "features"),
        show=_few_labels,
        command=_FEW_LABELS,
        files=(*code.FEW_LABELS, *code.RECIPE, *code.CNN, *_IMAGE),
    ),
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
        name="cell_probes",
        source="cell_probes.csv",
        key=("probe", "features", "seed"),
        show=_cell_probes,
        command="dnar2mae embed runs/pbmc",
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
