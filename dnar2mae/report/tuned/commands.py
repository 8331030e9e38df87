"""The commands that use the model, and that make another with labels of one's own."""

import shlex
from dataclasses import asdict

from dnar2mae.finetuning.options import FinetuneConfig
from dnar2mae.report.content import CommandLine, SectionContent
from dnar2mae.report.sections.commands import flag
from dnar2mae.report.tuned.run import TunedRun

_OWN = "runs/mine"
_DATA = ("model", "data", "genome", "track", "label_table", "label", "dev_names", "test_names")
_MACHINE = ("device", "seed", "max_hours", "tensorboard")


def commands(run: TunedRun) -> SectionContent:
    """Return the commands for predictions, for another fine-tuning, and for going on."""
    lines = (
        [] if run.is_finished else [("Going on to the end", f"finetune --resume --out {shlex.quote(str(run.path))}")]
    )
    lines += [*_predictions(run), ("The same settings with your own labels", f"finetune {shlex.join(_arguments(run))}")]
    lines.append(("This page for that run", f"report {_OWN}"))
    if run.pretrained.modality == "dna" and not run.is_per_base:
        lines.append(
            ("Which test rows have a homologue in train, of any two files", "audit TRAIN.csv TEST.csv --out rows.csv")
        )
    return SectionContent(
        lines=("Words in capitals are your files. dnar2mae COMMAND --help explains each.",),
        commands=tuple(CommandLine(purpose, f"dnar2mae {line}") for purpose, line in lines),
    )


def _predictions(run: TunedRun) -> list[tuple[str, str]]:
    model = f"predict {shlex.quote(str(run.path))}"
    if run.is_per_base:
        return [
            ("A track of predictions over a genome", f"{model} GENOME.fa --out predicted.bw"),
            ("Of regions, as a table", f"{model} REGIONS.bed --genome GENOME.fa --out predicted.csv"),
        ]
    if run.pretrained.modality == "dna":
        return [
            ("Predictions for your sequences (FASTA or a table)", f"{model} SEQUENCES.fa --out predicted.csv"),
            ("For regions of a genome", f"{model} REGIONS.bed --genome GENOME.fa --out predicted.csv"),
        ]
    return [("Predictions for your samples", f"{model} SAMPLES --out predicted.csv")]


def _arguments(run: TunedRun) -> list[str]:
    """Return the arguments that fine-tune on other data with the settings of this run that are not the usual ones."""
    config, usual = run.config, asdict(FinetuneConfig())
    arguments = [config.model, "--data", "GENOME.fa" if config.track else "DATA"]
    arguments += (
        ["--track", "TRACK"]
        if config.track
        else ["--label", *(f"LABEL{i or ''}" for i in range(len(run.target.columns)))]
    )
    arguments += ["--genome", "GENOME.fa"] if config.genome else []
    arguments += ["--label-table", "LABELS.csv"] if config.label_table else []
    for name, value in asdict(config).items():
        if name not in (*_DATA, *_MACHINE) and value != usual[name] and value is not None:
            arguments += flag(name.replace("_", "-"), value)
    return [*arguments, "--out", _OWN]
