"""How good the model is on test: scores beside yardsticks, and what its probabilities mean."""

import math
from typing import Any

from dnar2mae.finetuning.calibration import draw_calibration
from dnar2mae.finetuning.result import FinetuneResult, Scores
from dnar2mae.report.content import NumberTable, Picture, SectionContent
from dnar2mae.report.drawing import svg
from dnar2mae.report.tuned.run import TunedRun
from dnar2mae.scoring.intervals import Interval

_MOST_SCORES = 40  # three of each of many labels: all are in summary.json


def tiles(run: TunedRun) -> list[dict[str, Any]]:
    """Return the figures at the head of the page; of a stopped run there are none."""
    if not run.is_finished:
        return []
    result = run.result
    shown = [
        (f"{models[result.main].value:.3f}", f"{_words(result.main)}, {name}")
        for name, models in _models(result).items()
    ]
    shown.append((f"{result.rows['test']:,}", f"test rows, {result.rows['train']:,} for training"))
    return [{"value": value, "error": None, "what": what} for value, what in shown]


def scores(run: TunedRun) -> SectionContent:
    """Return the scores of the model, of the yardsticks and of the noise ceiling on the same test rows."""
    result = run.result
    models, main = _models(result), _words(result.main)
    rows = [
        (_words(score), *(_text(of.get(score)) for of in models.values()))
        for score in list(result.scores)[:_MOST_SCORES]
    ]
    pictures: tuple[Picture, ...] = ()
    if not math.isnan(result.scores[result.main].value):
        of_main = {name: of[result.main] for name, of in models.items()}
        alt = "; ".join(f"{name} {_text(interval)}" for name, interval in of_main.items())
        drawing = svg(
            "scores",
            f"{main} on test with 95 % intervals: {alt}.",
            lambda axes: _draw(axes, of_main, main),
            height=1.2 + 0.45 * len(of_main),
        )
        pictures = (Picture(drawing, f"{main} on test, 95 % intervals"),)
    caption = f"Scores on {result.rows['test']:,} test samples, 95 % intervals"
    return SectionContent(
        lines=_verdicts(result), pictures=pictures, tables=(NumberTable(("", *models), rows, caption),)
    )


def calibration(run: TunedRun) -> SectionContent:
    """Return how often predictions come true, with the temperature that was chosen on dev and without."""
    found = run.result.calibration
    error, before = found["error"], found["error_before"]
    alt = f"Predicted probabilities are off by {before:.3f} on average as trained, by {error:.3f} with the temperature."
    rows = [(f"{predicted:.3f}", f"{observed:.3f}", f"{number:,.0f}") for predicted, observed, number in found["curve"]]
    return SectionContent(
        lines=(
            f"Outputs are divided by a temperature of {found['temperature']:.2f}, chosen on dev. On test, "
            f"probabilities are then off by {error:.3f} on average, without by {before:.3f}.",
        ),
        pictures=(Picture(svg("calibration", alt, lambda axes: draw_calibration(axes, found)), "Reliability on test"),),
        tables=(NumberTable(("predicted", "share that is true", "number"), rows, "With the temperature"),),
    )


def _models(result: FinetuneResult) -> dict[str, Scores]:
    models = {"this model": result.scores, **result.yardsticks, "noise ceiling": result.ceiling}
    return {name: scores for name, scores in models.items() if scores}


def _verdicts(result: FinetuneResult) -> tuple[str, ...]:
    """Return a line a yardstick: where it lies beside the interval of the model."""
    main, name = result.scores[result.main], _words(result.main)
    if math.isnan(main.value):
        return (f"There is no {name}: all labels or predictions of a column are the same on the test rows.",)
    if not result.yardsticks:
        return ("Nothing was trained beside the model (--no-baselines), so that its scores say little.",)
    lines = []
    for other, of in result.yardsticks.items():
        value = of[result.main].value
        if math.isnan(value):
            lines.append(f"{other}: no {name}, since its predictions are all the same.")
            continue
        where = "below" if value < main.low else "above" if value > main.high else "within"
        lines.append(f"{other}: {name} {value:.3f}, {where} the model's interval ({main.low:.3f} to {main.high:.3f}).")
    return (*lines, "Pretraining has helped where both lie below: all have learned from the same rows.")


def _draw(axes: Any, models: dict[str, Interval], score: str) -> None:
    for at, (name, interval) in enumerate(models.items()):
        ends = [[interval.value - interval.low], [interval.high - interval.value]]
        colour = "C0" if name == "this model" else "C3"
        axes.errorbar([interval.value], [at], xerr=ends, fmt="o", color=colour, ms=5, lw=1.2, capsize=3)
    axes.set_yticks(range(len(models)), list(models))
    axes.set(xlabel=score, ylim=(len(models) - 0.5, -0.5))


def _text(interval: Interval | None) -> str:
    if interval is None or math.isnan(interval.value):
        return "-"
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _words(score: str) -> str:
    return score.replace("_", " ")
