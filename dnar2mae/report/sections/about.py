"""What the run is: its settings, data and surroundings."""

import shlex
from pathlib import Path
from typing import Any

from dnar2mae.config import PretrainConfig
from dnar2mae.modalities.registry import input_files, modality_spec, preset_for
from dnar2mae.presets import PRESETS
from dnar2mae.report.content import NumberTable, SectionContent
from dnar2mae.report.page_run import PageRun
from dnar2mae.report.reported_run import ReportedRun
from dnar2mae.run.config_file import flatten

_VERSIONS = ("dnar2mae", "torch", "numpy", "python")
_MOST_FACTS = 24  # about the data: a run on many files describes each


def about(run: ReportedRun) -> SectionContent:
    """Return what was trained on what, where and in how long, and the settings that were chosen for it."""
    preset, changed = chosen_settings(run.config)
    rows = [(f"--{name.replace('_', '-')}", text_of(value), text_of(usual)) for name, (value, usual) in changed.items()]
    settings = NumberTable(
        ("setting", "here", f"preset {preset}"), rows, f"Settings that differ from those of the preset {preset}"
    )
    of_run = NumberTable((), _facts(run), "The run")
    data = NumberTable((), _data_facts(run), "Its data")
    return SectionContent(tables=tuple(table for table in (of_run, data, settings) if table.rows))


def chosen_settings(config: PretrainConfig) -> tuple[str, dict[str, tuple[Any, Any]]]:
    """Return the name of the preset that a configuration is nearest to, and the settings in which they differ.

    Returns
    -------
    preset
        A run does not record it, and one with a file of settings has none: so the one with the fewest differences.
    changed
        By the name of its flag, each setting's value and the preset's. The data are left out.
    """
    paths = f"data.{modality_spec(config.modality).paths}"
    own = {name: value for name, value in flatten(config).items() if name not in (paths, "modality")}
    by_preset = {}
    for name, preset in PRESETS.items():
        usual = flatten(preset_for(config.modality, preset()))
        by_preset[name] = {key: (value, usual.get(key)) for key, value in own.items() if value != usual.get(key)}
    nearest = min(by_preset, key=lambda name: len(by_preset[name]))
    return nearest, by_preset[nearest]


def text_of(value: Any) -> str:
    """Return a setting or a fact in a few words."""
    match value:
        case None:
            return "by default"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
        case list() | tuple():
            return " ".join(map(text_of, value)) or "none"
    return str(value)


def _facts(run: ReportedRun) -> list[tuple[str, str]]:
    result, config = run.result, run.config
    state = "finished" if run.is_finished else f"stopped; {config.steps:,} steps were planned"
    facts: dict[str, Any] = {
        "folder": str(run.path),
        "kind of data": config.modality,
        "state": f"{run.last_step:,} steps of {config.batch_size:,} samples; {state}",
        "model": f"{config.model.backbone}, {config.model.depth} layers, {config.model.width} wide",
    }
    if run.is_finished:
        facts |= {"parameters": f"{result.parameters:,}", "time": duration(result.seconds)}
    facts |= surroundings(run)
    return [(name, str(value)) for name, value in facts.items() if value]


def surroundings(run: PageRun) -> dict[str, str | None]:
    """Return when and where a run of any kind was made, and by what; None or empty where that is not known."""
    around = run.environment
    return {
        "begun": around.get("started"),
        "machine": around.get("platform") and f"{around['platform']}, {around.get('cpus')} processor cores",
        "commit": around.get("commit"),
        "versions": ", ".join(f"{name} {around[name]}" for name in _VERSIONS if around.get(name)),
        "command": _command(around.get("command", [])),
    }


def _command(arguments: list[str]) -> str:
    """Return what was typed, without the folder of the program."""
    return shlex.join([*(Path(program).name for program in arguments[:1]), *arguments[1:]])


def duration(seconds: float) -> str:
    """Return a time in hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes // 60} h {minutes % 60} min"
        if minutes >= 60
        else f"{minutes} min {rest} s"
        if minutes
        else f"{rest} s"
    )


def _data_facts(run: ReportedRun) -> list[tuple[str, str]]:
    if not run.result.data:
        return [("files", " ".join(input_files(run.config)))]
    facts = _flat(run.result.data)
    more = [("...", f"and {len(facts) - _MOST_FACTS} more, in summary.json")] if len(facts) > _MOST_FACTS else []
    return facts[:_MOST_FACTS] + more


def _flat(content: dict[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Return nested facts, those of the innermost group in one line; of a file's path the last part."""
    lines: list[tuple[str, str]] = []
    for key, value in content.items():
        name = above + _words(key)
        if isinstance(value, dict) and any(isinstance(inner, dict) for inner in value.values()):
            lines += _flat(value, f"{name}: ")
        elif isinstance(value, dict):
            lines.append((name, "; ".join(f"{_words(inner)} {text_of(fact)}" for inner, fact in value.items())))
        else:
            lines.append((name, text_of(value)))
    return lines


def _words(key: str) -> str:
    return key.rpartition("/")[2] if "/" in key else key.replace("_", " ")
