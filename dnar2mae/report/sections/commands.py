"""The commands that do all this with data of one's own."""

import shlex
from dataclasses import fields
from typing import Any, Literal, get_origin

from dnar2mae.config import PretrainConfig
from dnar2mae.report.content import CommandLine, SectionContent
from dnar2mae.report.reported_run import ReportedRun
from dnar2mae.report.sections.about import chosen_settings

_OWN = "runs/mine"
_OF_THIS_RUN = ("seed", "init", "device")
_MODEL = {
    "dna": (
        ("This page for that run, with an annotation of the genome", f"report {_OWN} --genes GENES.gff3"),
        ("Bits per base of held-out windows, exactly and at most", f"likelihood {_OWN} --bound 8 --out bits.tsv"),
        (
            "The variant control, with a table of all pairs",
            f"score-variants {_OWN} --genome GENOME.fa --controls GENES.gff3 --out controls.csv",
        ),
        ("Scores of your variants", f"score-variants {_OWN} --genome GENOME.fa --vcf IN.vcf.gz --out scored.vcf.gz"),
        ("Embeddings of regions of your genome", f"embed {_OWN} REGIONS.bed --genome GENOME.fa --out regions.npy"),
        ("A map of them", "plot embedding regions.npy --label region --out map.png"),
        (
            "Sequences drawn from the model, their spectra and codons",
            f"generate {_OWN} --num 100 --report --genes GENES.gff3 --out drawn.fa",
        ),
        (
            "Benchmark tasks from your annotation",
            "benchmark build --genome GENOME.fa --annotation GENES.gff3 --out suites/mine",
        ),
        ("The model on them, beside k-mer counts", f"benchmark run suites/mine --model {_OWN} --out results"),
    ),
    "text": (
        ("This page for that run", f"report {_OWN}"),
        ("Bits of held-out text, exactly and at most", f"likelihood {_OWN} --bound 8 --out bits.tsv"),
        ("Texts drawn from the model", f"generate {_OWN} --num 10 --length-bp 200 --out drawn.jsonl"),
        ("Embeddings", f"embed {_OWN} TEXTS --out texts.npy"),
    ),
}
_OF_ANY = (("This page for that run", f"report {_OWN}"), ("Embeddings", f"embed {_OWN} SAMPLES --out embedded.npy"))


def commands(run: ReportedRun) -> SectionContent:
    """Return the command of each section, to be run with other data."""
    modality = run.config.modality
    mine = " ".join(["pretrain", *pretrain_arguments(run.config)])
    lines = [("The same settings with your own data", mine), *_MODEL.get(modality, _OF_ANY)]
    if modality == "dna":
        files = "GENOME.fa is any FASTA, GenBank, EMBL or .2bit file; GENES.gff3 also GTF, BED, GenBank or EMBL."
    else:
        files = "Words in capitals are your files."
    return SectionContent(
        lines=(f"{files} dnar2mae COMMAND --help explains each.",),
        commands=tuple(CommandLine(purpose, f"dnar2mae {line}") for purpose, line in lines),
    )


def pretrain_arguments(config: PretrainConfig) -> list[str]:
    """Return the arguments that pretrain on other data with the settings of a run that are not its preset's.

    Names and files among the settings of the data are those of this run's, and left out.
    """
    preset, changed = chosen_settings(config)
    # the files first: after a flag that takes several values they would be taken for one of them
    arguments = ["GENOME.fa"] if config.modality == "dna" else ["--modality", config.modality, "DATA"]
    arguments += ["--out", _OWN] + ["--preset", preset] * (preset != "tiny")
    names = {f"data.{field.name}" for field in fields(config.data) if get_origin(field.type) is not Literal}
    for name, (value, _) in changed.items():
        of_these_data = name in names and _is_text(value)
        if not of_these_data and name not in _OF_THIS_RUN:
            arguments += flag(name.replace("_", "-"), value)
    return arguments


def _is_text(value: Any) -> bool:
    parts = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(part, str) for part in parts)


def flag(name: str, value: Any) -> list[str]:
    """Return a setting as it is typed."""
    if isinstance(value, bool):
        head, _, last = name.rpartition(".")
        return [f"--{name}" if value else f"--{head}{'.' * bool(head)}no-{last}"]
    values = value if isinstance(value, list | tuple) else [value]
    return [f"--{name}", *(shlex.quote(str(part)) for part in values)]
