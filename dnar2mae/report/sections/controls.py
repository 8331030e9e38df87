"""What the model knows of the annotation: whether a change that breaks something scores low."""

import math
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dnar2mae.plots.intervals import draw_intervals
from dnar2mae.report.content import NumberTable, Picture, SectionContent
from dnar2mae.report.drawing import svg
from dnar2mae.report.reported_run import ReportedRun
from dnar2mae.scoring.intervals import Interval
from dnar2mae.variants import ControlOptions, score_controls

_MATCHES = {
    "stop_gained": "a stop codon gained and the same change in another frame",
    "splice_broken": "a splice site broken and the same change elsewhere in the transcript",
    "start_lost": "a start codon lost and the same change in another frame",
    "site_broken": "a binding site broken and the same change outside",
}
_CEILING = "The matrices that the sites were drawn from are the most that can be known."


def controls(run: ReportedRun) -> SectionContent:
    """Return AUROCs of pairs of substitutions, of which one breaks what is annotated, by the model and by counts."""
    run.genes  # noqa: B018 - says so if there is no annotation, before the model is loaded
    report = run.computed("controls", lambda: _scored(run), run.genome_file, run.options.pairs, run.options.seed)
    by_control = {
        control: {score: _interval(stored) for score, stored in scores.items()}
        for control, scores in report["auroc"].items()
    }
    names = tuple(dict.fromkeys(score for scores in by_control.values() for score in scores))
    rows = [
        (control.replace("_", " "), f"{report['pairs'][control]:,}", *(_text(scores[name]) for name in names))
        for control, scores in by_control.items()
    ]
    alt = "Area under the ROC curve with 95 % interval: " + "; ".join(
        f"{control}, {score} {i.value:.3f}" for control, scores in by_control.items() for score, i in scores.items()
    )
    matches = "; ".join(_MATCHES[control] for control in by_control)
    number = sum(map(len, by_control.values()))
    picture = svg("controls", alt, lambda axes: _draw(axes, by_control), height=1.4 + 0.26 * number)
    return SectionContent(
        lines=(
            f"Pairs of substitutions from the annotation, the same change in the same word: {matches}.",
            "AUROC says how often the one that breaks something has the lower score; 0.5 is chance. Counts of short "
            "words know nothing of frames or of sites beyond the word: a model not above them has learned no more.",
            *([_CEILING] if report["matrices"] else []),
            f"Drawn from {report['region_bp']:,} bp held out. Annotated there: {report['annotated']}.",
        ),
        pictures=(Picture(picture, "How well scores tell breaking changes from harmless ones"),),
        tables=(NumberTable(("", "pairs", *names), rows, "AUROC (95 % interval)"),),
    )


def _scored(run: ReportedRun) -> dict[str, Any]:
    assert run.options.genes is not None
    with TemporaryDirectory() as folder:
        report = score_controls(
            run.model,
            run.options.genes,
            Path(folder) / "controls.csv",
            genome=run.genome_file,
            matrices=run.options.matrices,
            options=ControlOptions(pairs=run.options.pairs, seed=run.options.seed),
        )
    return {name: asdict(report)[name] for name in ("auroc", "pairs", "region_bp", "annotated", "matrices")}


def _interval(stored: dict[str, float | None]) -> Interval:
    """Return an interval from JSON, in which a number that is not finite is null."""
    return Interval(**{name: math.nan if value is None else value for name, value in stored.items()})


def _text(interval: Interval) -> str:
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _draw(axes: Any, by_control: dict[str, dict[str, Interval]]) -> None:
    draw_intervals(axes, {name.replace("_", " "): scores for name, scores in by_control.items()})
    axes.axvline(0.5, color="0.6", lw=1, ls=":")
    axes.set(xlabel="AUROC; 0.5 is chance")
