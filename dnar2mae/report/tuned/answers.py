"""What the model answers on test: by class, by threshold, beside true values."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from dnar2mae.errors import RunError
from dnar2mae.finetuning.answers import MOST_BASES
from dnar2mae.finetuning.targets import Classes
from dnar2mae.report.content import NumberTable, Picture, SectionContent
from dnar2mae.report.drawing import svg
from dnar2mae.report.tuned.run import TunedRun
from dnar2mae.scoring.intervals import score_ranks
from dnar2mae.scoring.scores import confusion

_MOST_CROSSED, _MOST_CLASSES, _MOST_CURVES, _MOST_COLUMNS = 12, 60, 7, 4
_MOST_POINTS, _FEW, _ON_CURVE = 1200, 300, 150


def classes(run: TunedRun) -> SectionContent:
    """Return precision and recall of each class, and which classes are taken for one another."""
    assert isinstance(run.target, Classes)
    names = run.target.classes
    wanted, predicted = run.answers
    counts = confusion(wanted[:, 0].astype(np.int64), predicted.argmax(1), len(names))
    right, true, taken = (part.tolist() for part in (np.diag(counts), counts.sum(1), counts.sum(0)))
    order = sorted(range(len(names)), key=lambda i: -true[i])[:_MOST_CLASSES]
    rows = [
        (
            names[i],
            f"{true[i]:,}",
            *map(_share, (right[i], right[i], 2 * right[i]), (taken[i], true[i], taken[i] + true[i])),
        )
        for i in order
    ]
    tables = [NumberTable(("class", "number", "precision", "recall", "F1"), rows, "By class, the most frequent first")]
    if len(names) <= _MOST_CROSSED:
        crossed = [(name, *(f"{number:,}" for number in row)) for name, row in zip(names, counts, strict=True)]
        tables.append(
            NumberTable(("true class", *names), crossed, "Test rows by true class and predicted class (columns)")
        )
    return SectionContent(lines=_scope(run), tables=tuple(tables))


def thresholds(run: TunedRun) -> SectionContent:
    """Return precision by recall of each class or label, as the threshold of its probability falls."""
    named = list(_sides(run))[:_MOST_CLASSES]
    areas = {name: score_ranks("auprc", positive, scores).value for name, positive, scores in named}
    if np.isnan(list(areas.values())).all():
        raise RunError("no class or label is both true and false among the test rows")

    def draw(axes: Any) -> None:
        for name, positive, scores in named[:_MOST_CURVES]:
            if not np.isnan(areas[name]):
                axes.plot(*_curve(positive, scores), lw=1.3, label=f"area {areas[name]:.3f}: {name}")
        axes.set(xlabel="recall", ylabel="precision", ylim=(0, 1.03), xlim=(0, 1.02))
        axes.legend(fontsize=8, frameon=False)

    few = f", of the first {_MOST_CURVES}" if len(named) > _MOST_CURVES else ""
    alt = "Precision by recall on test; area below: " + ", ".join(f"{name} {area:.3f}" for name, area in areas.items())
    rows = [
        (name, f"{area:.3f}", f"{positive.mean():.3f}")
        for (name, positive, _), area in zip(named, areas.values(), strict=True)
    ]
    return SectionContent(
        lines=_scope(run),
        pictures=(Picture(svg("precision", alt + ".", draw), f"Precision by recall on test{few}"),),
        tables=(NumberTable(("", "area", "by chance"), rows, "Area below the curve (AUPRC)"),),
    )


def values(run: TunedRun) -> SectionContent:
    """Return predicted beside true values of each column."""
    wanted, predicted = run.answers
    chosen = np.arange(len(wanted))
    if len(chosen) > _MOST_POINTS:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, _MOST_POINTS, replace=False))
    pictures = [
        Picture(_scatter(name, wanted[chosen, column], predicted[chosen, column]), f"{name}: predicted by true value")
        for column, name in enumerate(run.target.columns[:_MOST_COLUMNS])
    ]
    rows = [
        (
            name,
            *(f"{number:.4g}" for number in (y.mean(), y.std(), x.mean(), x.std(), np.sqrt(np.square(x - y).mean()))),
        )
        for name, y, x in zip(run.target.columns, wanted.T, predicted.T, strict=True)
    ]
    columns = ("", "mean", "deviation", "mean, predicted", "deviation, predicted", "root mean squared error")
    points = f" {_MOST_POINTS:,} of them are drawn." if len(chosen) < len(wanted) else ""
    return SectionContent(
        lines=(*_scope(run), f"{len(wanted):,} values; on the dashed line a prediction is the true value.{points}"),
        pictures=tuple(pictures),
        tables=(NumberTable(columns, rows, "Test rows, in the unit of the labels"),),
    )


def _scatter(name: str, wanted: Float[np.ndarray, " M"], predicted: Float[np.ndarray, " M"]) -> Any:
    ends = [min(wanted.min(), predicted.min()), max(wanted.max(), predicted.max())]

    def draw(axes: Any) -> None:
        axes.plot(wanted, predicted, "o", ms=4 if len(wanted) < _FEW else 2, alpha=0.5, mew=0)
        axes.plot(ends, ends, color="0.6", lw=1, ls="--")
        axes.set(xlabel=f"{name}, true", ylabel="predicted")

    return svg(f"values-{name}", f"Predicted by true values of {name}, {len(wanted):,} points.", draw)


def _sides(run: TunedRun) -> Iterator[tuple[str, Bool[np.ndarray, " M"], Float[np.ndarray, " M"]]]:
    """Yield each class or label with the rows where it is true, and its probabilities; of two classes the second."""
    wanted, predicted = run.answers
    if not isinstance(run.target, Classes):
        yield from zip(run.target.columns, (wanted == 1).T, predicted.T, strict=True)
        return
    for side, name in list(enumerate(run.target.classes))[len(run.target.classes) == 2 :]:
        yield name, wanted[:, 0] == side, predicted[:, side]


def _curve(positive: Bool[np.ndarray, " M"], scores: Float[np.ndarray, " M"]) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(positive, scores)
    shown = np.unique(np.linspace(0, len(recall) - 1, _ON_CURVE).astype(np.int64))
    return recall[shown], precision[shown]


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "-"


def _scope(run: TunedRun) -> tuple[str, ...]:
    number = len(run.answers[0])
    drawn = ", drawn from more" if number == MOST_BASES else ""
    return (f"{number:,} bases of {run.result.rows['test']:,} test windows{drawn}.",) if run.is_per_base else ()
