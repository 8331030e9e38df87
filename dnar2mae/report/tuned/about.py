"""What the run is, and how its loss fell."""

from dataclasses import asdict
from typing import Any

from dnar2mae.finetuning.options import FinetuneConfig
from dnar2mae.finetuning.plot import draw_losses, draw_score, score_on_dev
from dnar2mae.finetuning.targets import Classes
from dnar2mae.report.content import NumberTable, Picture, SectionContent
from dnar2mae.report.drawing import svg
from dnar2mae.report.sections.about import duration, surroundings, text_of
from dnar2mae.report.tuned.run import TunedRun

_INPUTS = ("model", "data", "genome", "track", "label_table", "features", "label")
_METHODS = {"full": "all weights", "lora": "low-rank updates (LoRA)", "frozen": "the head alone"}
_MOST_NAMES = 12


def about(run: TunedRun) -> SectionContent:
    """Return what was tuned on what, how, where and in how long, and the settings that are not the usual ones."""
    usual = asdict(FinetuneConfig())
    changed = [
        (f"--{name.replace('_', '-')}", text_of(value), text_of(usual[name]))
        for name, value in asdict(run.config).items()
        if name not in _INPUTS and value != usual[name]
    ]
    tables = (
        NumberTable((), _texts(_facts(run)), "The run"),
        NumberTable((), _texts(_data_facts(run)), "Its data"),
        NumberTable(("setting", "here", "by default"), changed, "Settings that differ from the defaults"),
    )
    return SectionContent(tables=tuple(table for table in tables if table.rows))


def _texts(facts: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, text_of(value)) for name, value in facts.items() if value]


def _facts(run: TunedRun) -> dict[str, Any]:
    config, model = run.config, run.pretrained.model
    facts: dict[str, Any] = {
        "folder": str(run.path),
        "pretrained model": config.model,
        "network": f"{model.backbone}, {model.depth} layers, {model.width} wide",
        "trained": _METHODS[config.method],
        "strands": _strands(run),
        "state": f"{run.last_step:,} steps of {config.batch_size:,} rows; "
        + ("finished" if run.is_finished else "stopped"),
    }
    if run.is_finished:
        facts["weights"] = f"{run.result.learned:,} of {run.result.parameters:,} are trained"
        facts["time"] = duration(run.result.seconds)
    return facts | surroundings(run)


def _strands(run: TunedRun) -> str:
    if run.pretrained.modality != "dna":
        return ""
    return "both, and predictions are their mean" if run.config.both_strands else "as given"


def _data_facts(run: TunedRun) -> dict[str, Any]:
    config, target = run.config, run.target
    classes = target.classes if isinstance(target, Classes) else ()
    more = f" and {len(classes) - _MOST_NAMES} more" if len(classes) > _MOST_NAMES else ""
    return {
        "kind of data": run.pretrained.modality,
        "learned from": config.data,
        "genome": config.genome,
        "track": config.track,
        "features": config.features,
        "table of labels": config.label_table,
        "labels": ", ".join(target.columns),
        "target": f"{target.kind}, one a {target.per}",
        "classes": ", ".join(classes[:_MOST_NAMES]) + more,
    }


def by_step(run: TunedRun) -> SectionContent:
    """Return the loss on train and dev and the score on dev by step, with the step whose weights are kept."""
    dev = {row["step"]: row for row in run.metrics if row["event"] == "validation"}
    name, best = score_on_dev(run.metrics), dev[run.best_step]
    first, last = min(dev), max(dev)
    said = {at: "-" if dev[at]["loss"] is None else f"{dev[at]['loss']:.4f}" for at in (first, last)}
    losses = svg(
        "losses",
        f"Loss on dev: {said[first]} at step {first}, {said[last]} at step {last}; best at step {run.best_step}.",
        lambda axes: draw_losses(axes, run.metrics, run.best_step),
    )
    score = svg("dev-score", f"{name} on dev by step.", lambda axes: draw_score(axes, run.metrics, run.best_step))
    chosen = "the lowest loss" if run.config.select == "loss" else f"the best {name}"
    value = "-" if best[name] is None else f"{best[name]:.3f}"
    return SectionContent(
        lines=(
            f"The weights are those of step {run.best_step:,}, which had {chosen} on dev: {name} {value} there. Test "
            "rows have chosen nothing.",
        ),
        pictures=(
            Picture(losses, "Loss by step; that on train is a trailing mean"),
            Picture(score, "Score on dev by step"),
        ),
    )
