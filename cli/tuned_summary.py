"""The table that ends a fine-tuning."""

import math

from rich.console import Console
from rich.table import Table

from dnar2mae.finetuning.result import FinetuneResult, Scores

_MOST_COLUMNS = 4


def print_scores(result: FinetuneResult) -> None:
    """Print the scores of the model, of the yardsticks and of the noise ceiling, on the test rows."""
    console = Console(highlight=False)
    shown = list(result.scores)[:_MOST_COLUMNS]
    table = Table(
        title=f"Scores on {result.rows['test']:,} test samples, a 95 % interval of the first", title_justify="left"
    )
    table.add_column("model")
    for name in shown:
        table.add_column(name.replace("_", " "), justify="right", style="bold" if name == result.main else "")
    for name, scores in {"this model": result.scores, **result.yardsticks, "noise ceiling": result.ceiling}.items():
        if scores:
            table.add_row(name, *(_text(scores, score, full=score == result.main) for score in shown))
    console.print(table)
    if result.calibration:
        before, after = result.calibration["error_before"], result.calibration["error"]
        console.print(
            f"Probabilities are divided by a temperature of {result.calibration['temperature']:.2f}, chosen on dev: on "
            f"test they are off by {after:.3f} on average, {before:.3f} without (calibration.png).",
            soft_wrap=True,
        )
    console.print(
        f"{result.learned:,} of {result.parameters:,} weights trained, {result.steps:,} steps, the best on dev after "
        f"{result.best['step']:.0f}; {result.seconds:.0f} s. Written to {result.out} (summary.json, "
        f"test_predictions.csv, loss.png); dnar2mae report {result.out} writes a page.",
        soft_wrap=True,
        markup=False,
    )


def _text(scores: Scores, name: str, *, full: bool) -> str:
    interval = scores.get(name)
    if interval is None or math.isnan(interval.value):
        return ""
    return f"{interval.value:.3f}" + (f" [{interval.low:.3f}, {interval.high:.3f}]" if full else "")
