"""What was learned: the loss by step, and by mask ratio, beside trivial models."""

import math
from dataclasses import asdict

from dnar2mae.report.content import NumberTable, Picture, SectionContent
from dnar2mae.report.drawing import image, svg
from dnar2mae.report.reported_run import ReportedRun
from dnar2mae.run.plot import draw_curve, draw_losses
from dnar2mae.run.result import advice, bound_line, copies_lines, unique_lines, verdicts


def by_step(run: ReportedRun) -> SectionContent:
    """Return the training and held-out loss by step, and the last one beside the yardsticks."""
    result, unit = run.result, run.result.unit
    held_out = [(row["step"], row["held_out"]) for row in run.metrics if row["event"] == "validation"]
    alt = f"Held-out loss, {unit}: {_number(held_out[0][1])} at step {held_out[0][0]}, "
    alt += f"{_number(held_out[-1][1])} at step {held_out[-1][0]}."
    picture = svg("losses", alt, lambda axes: draw_losses(axes, run.metrics, asdict(result)))
    lines = [
        _scope(run),
        *verdicts(unit, result.margin),
        *unique_lines(unit, result.unique),
        *copies_lines(result.held_out, unit, result.copies, result.bound),
        *filter(None, [advice(result)]),
    ]
    rows = [("untrained model", _number(held_out[0][1]))] if held_out[0][0] == 0 else []
    if run.is_finished:
        rows += [(name, _number(value)) for name, value in result.yardstick.items() if name in result.margin]
        rows.append(("this model", f"{_number(result.held_out)} ± {_number(result.standard_error)}"))
    else:
        rows.append((f"this model at step {held_out[-1][0]:,}", _number(held_out[-1][1])))
    tables = [NumberTable(("", unit), rows, "Held-out loss at mask ratio 0.15")]
    classes = [
        (name, f"{own['samples']:,}", f"{_number(own['value'])} ± {_number(own['standard_error'])}")
        for name, own in result.classes.items()
    ]
    if classes:
        tables.append(NumberTable(("class of the middle base", "samples", unit), classes, "The same by class"))
    return SectionContent(
        lines=tuple(lines),
        pictures=(Picture(picture, "Loss by step; training losses are a trailing mean"),),
        tables=tuple(tables),
    )


def by_ratio(run: ReportedRun) -> SectionContent:
    """Return the held-out loss by mask ratio and the bound on the model's own bits, or why there is none."""
    result = run.finished_result()
    bound = bound_line(result)
    curve = result.curve | result.bound.get("curve", {})
    ratios = list(curve)
    alt = f"Held-out loss by mask ratio, {result.unit}: from {_number(curve[ratios[0]])} at {ratios[0]} to "
    alt += f"{_number(curve[ratios[-1]])} at {ratios[-1]}."
    picture = svg("curve", alt, lambda axes: draw_curve(axes, asdict(result)))
    others = ({"with copies": result.copies["curve"]} if result.copies else {}) | result.yardstick_curve
    rows = [
        (ratio, _number(value), *(_number(other.get(ratio)) for other in others.values()))
        for ratio, value in curve.items()
    ]
    return SectionContent(
        lines=(
            "The same held-out samples with more and more of them masked: how much the model makes of little context.",
            *filter(None, [bound]),
        ),
        pictures=(Picture(picture, "Held-out loss by mask ratio"),),
        tables=(NumberTable(("mask ratio", "this model", *others), rows, f"Held-out loss, {result.unit}"),),
    )


def restored(run: ReportedRun) -> SectionContent:
    """Return the picture of held-out samples that an image run draws at each validation."""
    path = run.path / "held_out-best.png"
    alt = "Held-out images in three rows: the original, what the model sees of it, and what it restores."
    return SectionContent(pictures=(Picture(image(path, alt), "Original, visible, restored; the best step"),))


def _scope(run: ReportedRun) -> str:
    if not run.is_finished:
        return f"So far: the run stopped at step {run.last_step:,}; trivial models are fitted after the last step."
    used, total = run.result.samples.get("used", 0), run.result.samples.get("held_out", 0)
    return f"Over {used:,} of {total:,} held-out samples; ± one standard error over blocks of them."


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"
